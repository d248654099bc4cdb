"""The command line of a small comparison, and data for it."""

import csv
import shutil

import numpy as np

from hardpairs.comparing.measure import METRICS, QueryResults
from hardpairs.comparing.parts import find_parts


def argv(folder, out, *more):
    start = (
        "--model",
        "hardpairs-test",
        "--pretrained",
        str(folder / "start/checkpoints/epoch_1.pt"),
    )
    size = (
        "--steps",
        "4",
        "--epochs",
        "2",
        "--batch-size",
        "16",
        "--m-per-class",
        "2",
        "--seeds",
        "1",
        "--lr",
        "1e-3",
    )
    trainer = ("--", "--workers", "0", "--precision", "fp32")
    return [
        str(folder / "data"),
        *start,
        *size,
        "--losses",
        "supcon,clip-ce",
        "--out",
        str(out),
        *more,
        *trainer,
    ]


def copy_of(pictures, place, flat=("query", "gallery")):
    """The pictures with test folders that have no class folders inside, as a challenge hands them out."""
    shutil.copytree(pictures / "data", place / "data")
    shutil.copytree(pictures / "start", place / "start")
    for side in flat:
        folder = place / "data/test" / side
        for path in sorted(folder.glob("*/*")):
            path.rename(folder / f"{path.parent.name}-{path.name}")
        for path in [path for path in folder.iterdir() if path.is_dir()]:
            path.rmdir()
    return place


def parts_of(pictures):
    return find_parts(str(pictures / "data"), pictures, {}, by="label")


def results_of(values):
    values = np.array(values, float)
    queries = {name: values for name in METRICS}
    return QueryResults(
        queries,
        np.arange(len(values)),
        np.zeros((len(values), 5), int),
        np.zeros((len(values), 5), bool),
        0.5,
    )


KEYS = ("--csv-img-key", "image", "--csv-caption-key", "text", "--csv-label-key", "kind")


def labeled_table(pictures, path, folder="train"):
    """A table of the pictures of one part."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "text", "kind"])
        for picture in sorted((pictures / "data" / folder).rglob("*.jpg")):
            writer.writerow([picture, "a picture", picture.parent.name])
    return path
