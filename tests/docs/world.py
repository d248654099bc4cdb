"""Small data under the names that the documentation uses."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

from tests.helpers import ROOT, picture, sample, write_tar


def make_world(folder: Path, checkpoint: Path) -> Path:
    """Fill a folder with the tables, images, shards and checkpoints that the pages name."""
    images = folder / "images"
    images.mkdir(parents=True)
    for i in range(40):
        (images / f"{i}.jpg").write_bytes(picture(i // 2))
    pairs = [(images / f"{i}.jpg", f"picture number {i}") for i in range(40)]
    for name in ("pairs", "test", "val", "cc3m"):
        write_table(folder / f"{name}.csv", ("filepath", "title", "label"), pairs, labels=True)
    write_table(folder / "news.csv", ("filepath", "title", "label"), pairs, labels=True)
    write_table(folder / "scans.csv", ("image_path", "text"), pairs)
    for name in ("start.pt", "epoch_5.pt", "best.pt"):
        shutil.copy(checkpoint, folder / name)
    make_classes(folder)
    make_photos(folder)
    make_shards(folder)
    make_tools(folder)
    return folder


def write_table(path: Path, header: tuple[str, ...], pairs: list, *, labels: bool = False) -> None:
    """Write image paths and captions, with one label for two rows if asked."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for i, (image, caption) in enumerate(pairs):
            writer.writerow([image, caption, *([f"story {i // 2}"] if labels else [])])


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
    shutil.copytree(folder / "pictures/test/query", folder / "query")
    shutil.copytree(folder / "pictures/test/gallery", folder / "gallery")
    shutil.copytree(folder / "pictures/test", folder / "test")


def make_photos(folder: Path) -> None:
    """Make a photo collection, and one with captions as MiniCLIP's users have it."""
    for target in (folder / "Pictures", folder / "data/images", folder / "photos"):
        target.mkdir(parents=True)
        for i in range(20):
            (target / f"{i}.jpg").write_bytes(picture(i))
    captions = [{"image": f"{i}.jpg", "captions": [f"picture number {i}"]} for i in range(20)]
    (folder / "data/captions.json").write_text(json.dumps(captions))
    (folder / "captions.json").write_text(json.dumps(captions))
    shutil.copy(folder / "Pictures/1.jpg", folder / "like_this.jpg")
    (folder / "dogs").mkdir()


def make_shards(folder: Path) -> None:
    """Make two tars as img2dataset writes them."""
    for shard in range(2):
        rows = {f"{shard:05d}{i:04d}": sample(20 * shard + i) for i in range(20)}
        for place in (folder / "data", folder / "cc3m"):
            write_tar(place / f"{shard:05d}.tar", rows)


def make_tools(folder: Path) -> None:
    """Make the commands that the pages type."""
    tools = folder / ".bin"
    tools.mkdir()
    lines = {
        "python": f'exec {sys.executable} "$@"',
        "python3": f'exec {sys.executable} "$@"',
        "hardpairs": f'exec {sys.executable} -m hardpairs.cli "$@"',
        "torchrun": f'exec {sys.executable} -m torch.distributed.run --standalone "$@"',
    }
    for name, line in lines.items():
        (tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (tools / name).chmod(0o755)
    (folder / "scripts").symlink_to(ROOT / "scripts")
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
