"""A captions.json, split into training and validation data."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.errors import usage
from hardpairs.core.remote import is_url
from hardpairs.data.manifest import NAME
from hardpairs.data.near_duplicates import joined, look_alikes
from hardpairs.data.opening import open_samples
from hardpairs.data.splits import COSINE, LOOK, SEED, Split, image_numbers, open_split, split_into
from hardpairs.data.tables import is_table
from hardpairs.training.config import CAPTIONS_JSON


def is_ours_to_read(source: str, dataset_type: str | None = None) -> bool:
    """Return whether OpenCLIP cannot read the training data and we can.

    That is a captions.json, a .jsonl, a folder, and a table of images in tars.

    Args:
        source: The training data; empty: none.
        dataset_type: OpenCLIP's name for the kind of data.

    Raises:
        UserError: exit 2 for another file that is called a captions.json.
    """
    is_json = source.lower().endswith(".json")
    if dataset_type == CAPTIONS_JSON and not is_json:
        raise usage(
            f"`dataset_type` {CAPTIONS_JSON} is for a .json file",
            where=f"`train_data` {source}",
            fix="check the path",
        )
    is_folder = bool(source) and not is_url(source) and Path(source).is_dir()
    return (
        is_json
        or is_folder
        or source.lower().endswith(".jsonl")
        or (is_table(source) and _lists_tars(Path(source)))
    )


def _lists_tars(table: Path) -> bool:
    """Return whether the first row of a table names an image in a tar, as ``wds_to_csv`` does."""
    if not table.is_file():
        return False
    with open(table, encoding="utf-8", errors="replace") as file:
        return ".tar/" in "".join(itertools.islice(file, 1, 2)).lower()


def split_captions(
    captions_json: str, folder: Path, *, image_root: str | None = None, verbose: bool = True
) -> Split:
    """Split a captions.json by image; return the split that exists already.

    A new split keeps images that look alike in one part.

    Args:
        captions_json: The file.
        folder: Folder of the split.
        image_root: Folder of the images.
        verbose: Whether to print to stderr how many images look alike.

    Raises:
        UserError: As ``split_into``; exit 4 when the file was changed since it was split.
    """
    samples = open_samples(captions_json, image_root=image_root)
    stored: dict[str, Any] = {"seed": SEED, "near_duplicates": {LOOK: True}}
    if (folder / NAME).is_file():
        stored = open_split(folder).manifest
    duplicates = stored["near_duplicates"]

    def find_groups() -> np.ndarray:
        if COSINE in duplicates:
            raise usage(
                "the images were moved, and the split used embeddings",
                where=str(folder),
                fix="make it anew with the options that made it",
            )
        first = image_numbers(samples)[1]
        return joined(len(first), look_alikes(samples, first))

    split = split_into(
        folder,
        samples,
        image_root=image_root,
        seed=stored["seed"],
        duplicates=duplicates,
        find_groups=find_groups if duplicates else None,
    )
    if verbose and split.is_new and (together := split.manifest["kept_together"])["images"]:
        print(
            f"{folder}: {together['images']} images that look alike stay in one part, in "
            f"{together['groups']} groups",
            file=sys.stderr,
        )
    return split
