"""Small data under the names that the documentation uses."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import torch

from tests.compat.test_miniclip_checkpoint import Lstm, Model, save
from tests.data.test_clip_benchmark import write_classes, write_retrieval
from tests.data.test_karpathy import write as write_karpathy
from tests.helpers import ROOT, picture, sample, write_tar
from tests.linking.test_label_studio import task

ROWS = 40
PHOTOS = 20


def make_world(folder: Path, checkpoint: Path) -> Path:
    """Fill a folder with the tables, images, shards and checkpoints that the pages name."""
    make_tables(folder)
    make_news(folder)
    make_classes(folder)
    make_photos(folder)
    make_shards(folder)
    make_benchmarks(folder)
    make_checkpoints(folder, checkpoint)
    make_tools(folder)
    return folder


def copy_world(world: Path, folder: Path) -> Path:
    """Make a folder of its own for a page, of links to the files of the world."""
    shutil.copytree(world, folder, copy_function=os.link, symlinks=True)
    return folder


def write_table(path: Path, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """Write a comma-separated table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def make_tables(folder: Path) -> None:
    """Make tables of images and captions, with four rows for each label."""
    images = folder / "images"
    images.mkdir(parents=True)
    for i in range(ROWS):
        (images / f"{i}.jpg").write_bytes(picture(i))
    rows = [(f"images/{i}.jpg", f"picture number {i}", f"story {i // 4}") for i in range(ROWS)]
    for name in ("pairs", "test", "val", "news"):
        write_table(folder / f"{name}.csv", ("filepath", "title", "label"), rows)


def make_news(folder: Path) -> None:
    """Make scanned articles, a table of them, and pairs of them judged in Label Studio."""
    (folder / "scans").mkdir()
    names = [f"{i}_paper-{i % 3}.jpg" for i in range(ROWS)]
    for i, name in enumerate(names):
        (folder / "scans" / name).write_bytes(picture(i))
    texts = [(name, f"picture number {i}") for i, name in enumerate(names)]
    write_table(folder / "scans.csv", ("image_path", "text"), texts)
    for part in (0, 1):
        rows = names[part::2]
        same = [task(*rows[i : i + 2], "Same") for i in range(0, len(rows) - 1)]
        judged = [pair for i, pair in enumerate(same) if i % 4 != 3]
        (folder / f"pairs{part + 1}.json").write_text(json.dumps(judged))


def make_classes(folder: Path) -> None:
    """Make class folders, and a gallery with queries, in the loss comparison's layout."""
    parts = {"train": 4, "validation": 2, "test/query": 1, "test/gallery": 2}
    for root in ("pictures", "data"):
        for part, count in parts.items():
            for label in range(8):
                target = folder / root / part / f"class {label}"
                target.mkdir(parents=True)
                for i in range(count):
                    (target / f"{i}.jpg").write_bytes(picture(label))
    for name in ("query", "gallery"):
        shutil.copytree(folder / "pictures/test" / name, folder / name)
    shutil.copytree(folder / "pictures/test", folder / "test")


def make_photos(folder: Path) -> None:
    """Make a photo collection, and some with captions as MiniCLIP's users have them."""
    captions = [{"file_name": f"{i}.jpg", "caption": f"picture number {i}"} for i in range(PHOTOS)]
    for name in ("Pictures", "photos", "data/images", "test/images"):
        (folder / name).mkdir(parents=True)
        for i in range(PHOTOS):
            (folder / name / f"{i}.jpg").write_bytes(picture(i))
    for name in ("captions.json", "data/captions.json", "test/captions.json"):
        (folder / name).write_text(json.dumps(captions))
    rows = [(f"../data/images/{i}.jpg", f"picture number {i}") for i in range(PHOTOS)]
    write_table(folder / "split/test.csv", ("filepath", "title"), rows)
    shutil.copy(folder / "Pictures/1.jpg", folder / "like_this.jpg")
    (folder / "dogs").mkdir()


def make_shards(folder: Path) -> None:
    """Make two tars as img2dataset writes them."""
    for shard in range(2):
        rows = {f"{shard:05d}{i:04d}": sample(20 * shard + i) for i in range(20)}
        for place in ("data", "cc3m", "data/cc3m"):
            write_tar(folder / place / f"{shard:05d}.tar", rows)


def make_benchmarks(folder: Path) -> None:
    """Make the files of benchmarks that docs/evaluate.md names."""
    (folder / "val2017").mkdir()
    (folder / "val2017/0.jpg").write_bytes(picture(0))
    (folder / "sugarcrepe").mkdir()
    item = {"filename": "0.jpg", "caption": "picture number 0", "negative_caption": "picture 1"}
    for name in ("add_obj", "swap_obj"):
        (folder / f"sugarcrepe/{name}.json").write_text(json.dumps({"3": item}))
    write_karpathy(folder / "coco").rename(folder / "dataset_coco.json")
    shutil.copytree(folder / "coco/val2014", folder / "val2014")
    shutil.copy(folder / "dataset_coco.json", folder / "dataset_flickr30k.json")
    (folder / "eccv_caption_to_image.json").write_text(json.dumps({"0": [7000]}))
    (folder / "eccv_image_to_caption.json").write_text(json.dumps({"7000": [0, 1]}))
    write_retrieval(folder / "wds_flickr8k")
    write_classes(folder / "wds_cars")


def make_checkpoints(folder: Path, checkpoint: Path) -> None:
    """Make a checkpoint that tells its inputs apart, and one of MiniCLIP's.

    Matrices twice as large spread the embeddings of random weights. Without this all pairs are near
    duplicates to mining.
    """
    content = torch.load(checkpoint)
    for tensor in content["state_dict"].values():
        tensor.mul_(2 if tensor.ndim > 1 else 1)
    for name in ("start.pt", "epoch_5.pt", "best.pt"):
        torch.save(content, folder / name)
    words = 4 + len({"picture", "number", *range(PHOTOS)})
    texts = [f"picture number {i}" for i in range(PHOTOS)]
    target = folder / "checkpoints"
    target.mkdir()
    save(target, Model(lambda _: Lstm(words)), texts).rename(target / "best_model_lstm.pth")


def make_tools(folder: Path) -> None:
    """Make the commands that the pages type in a shell."""
    tools = folder / ".bin"
    tools.mkdir()
    lines = {
        "python": f'exec {sys.executable} "$@"',
        "python3": f'exec {sys.executable} "$@"',
        "hardpairs": f'exec {sys.executable} -m hardpairs.cli "$@"',
    }
    for name, line in lines.items():
        (tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (tools / name).chmod(0o755)
    (folder / "scripts").symlink_to(ROOT / "scripts")
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
