"""Data sets split by image into train, val and test, by MiniCLIP's rule, and the split's folder.

FOLDER/train.csv val.csv test.csv     tables that every command reads
FOLDER/split.json                     the images of each part by name
FOLDER/manifest.json                  what was split, how, and hashes of the above
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import write_csv, write_json
from hardpairs.core.errors import bad_input, mismatch
from hardpairs.core.remote import is_url
from hardpairs.data.manifest import NAME, read_manifest, write_manifest
from hardpairs.data.samples import Samples
from hardpairs.data.split_parts import PARTS
from hardpairs.data.tables import is_table, read_table

SEED = 42
TRAIN_SHARE, VAL_SHARE = 0.7, 0.15
LOOK, COSINE = "look", "cosine_above"
"""Names in a manifest of the ways to find near duplicates: by thumbnails, by embeddings."""


@dataclass(frozen=True)
class Split:
    """A stored split.

    Attributes:
        folder: Its folder.
        manifest: ``source``, ``image_root``, ``dataset_fingerprint``, ``seed``, counts.
        is_new: Whether it was made just now.
    """

    folder: Path
    manifest: dict[str, Any]
    is_new: bool

    def table(self, part: str) -> Path:
        """Return the table of a part."""
        return self.folder / f"{part}.csv"


def part_of_images(count: int, *, seed: int = SEED, groups: np.ndarray | None = None) -> np.ndarray:
    """Return the part of each image: 0 train, 1 val, 2 test.

    By MiniCLIP's rule Python's ``random`` shuffles the images, in order of first appearance, with
    the seed. The first int(0.7 n) are for training, the next int(0.15 n) for validation, the rest
    for the test.

    Args:
        count: Number of images.
        seed: Seed of the shuffle.
        groups: (count,) numbers. Images that share one stay together, in the part of the first of
            them in the shuffled order: so large groups are trained on more often than others.

    Returns:
        (count,) uint8.

    Example:
        Of 10 images, seed 42 shuffles [0 .. 9] to [7, 3, 2, 8, 5, 6, 9, 4, 0, 1]. Seven are for
        training, image 4 is for validation, images 0 and 1 are for the test.
    """
    order = list(range(count))
    random.Random(seed).shuffle(order)
    parts = np.full(count, 2, np.uint8)
    train, val = int(TRAIN_SHARE * count), int(VAL_SHARE * count)
    parts[order[:train]], parts[order[train : train + val]] = 0, 1
    if groups is None:
        return parts
    first: dict[int, int] = {}
    for image in order:
        first.setdefault(int(groups[image]), int(parts[image]))
    return np.array([first[int(group)] for group in groups], np.uint8)


def image_numbers(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Return the image number of each row, and the first row of each image.

    Images are numbered by first appearance.

    Returns:
        (N,) int64 and (U,) int64.
    """
    _, first, inverse = np.unique(samples.images, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[inverse], first[order]


def split_into(
    folder: str | os.PathLike[str],
    samples: Samples,
    *,
    image_root: str | None = None,
    image_key: str = "filepath",
    caption_key: str = "title",
    separator: str | None = None,
    seed: int = SEED,
    duplicates: dict[str, Any] | None = None,
    find_groups: Callable[[], np.ndarray] | None = None,
) -> Split:
    """Split a data set into a folder, or open the split that the folder holds.

    Args:
        folder: The folder of the split.
        samples: A table, a captions.json, a folder of images, or shards.
        image_root: As ``samples`` was opened with.
        image_key: As ``samples`` was opened with.
        caption_key: As ``samples`` was opened with.
        separator: As ``samples`` was opened with.
        seed: As in ``part_of_images``.
        duplicates: How near duplicates are found, for the manifest.
        find_groups: Returns the (U,) ``groups`` of ``part_of_images``; called only where a split is
            made. A column ``group`` of the tables then says that such images are not negatives of
            each other.

    Raises:
        UserError: exit 3 when a part would be empty, exit 4 when the folder holds a split of other
            data or options, or a damaged one.
    """
    folder = Path(folder)
    recipe = {
        "kind": "split",
        "source": samples.source if is_url(samples.source) else os.path.abspath(samples.source),
        "image_root": os.path.abspath(image_root)
        if image_root and not is_url(image_root)
        else image_root,
        "dataset_fingerprint": samples.fingerprint,
        "seed": seed,
        "near_duplicates": duplicates or {},
    }
    stored = _same_split(folder, recipe) if (folder / NAME).is_file() else None
    if stored and all(stored.get(key) == recipe[key] for key in ("source", "image_root")):
        return Split(folder, stored, is_new=False)
    # Otherwise the split is new, or the images were moved and the tables get their new paths.
    numbers, first = image_numbers(samples)
    groups = None if find_groups is None else find_groups()
    parts = part_of_images(len(first), seed=seed, groups=groups)
    counts = {part: int((parts == i).sum()) for i, part in enumerate(PARTS)}
    if not all(counts.values()):
        raise bad_input(
            f"{len(first)} images are too few for three parts: {counts}",
            where=samples.source,
            fix="at least 7 images that do not look alike",
        )
    columns = _columns(
        samples, image_key, caption_key, separator, None if groups is None else groups[numbers]
    )
    for i, part in enumerate(PARTS):
        rows = np.flatnonzero(parts[numbers] == i).tolist()
        values = ([column[row] for column in columns.values()] for row in rows)
        write_csv(folder / f"{part}.csv", list(columns), values, line_end="\n")
    names = list(columns[image_key]) if is_table(samples.source) else _names(samples)
    write_json(
        folder / "split.json",
        {part: [names[row] for row in first[parts == i]] for i, part in enumerate(PARTS)},
    )
    captions = {part: int((parts[numbers] == i).sum()) for i, part in enumerate(PARTS)}
    files = ("split.json", *(f"{part}.csv" for part in PARTS))
    sizes = {"images": counts, "captions": captions, "kept_together": _kept_together(groups)}
    return Split(folder, write_manifest(folder, {**recipe, **sizes}, files), is_new=stored is None)


def _kept_together(groups: np.ndarray | None) -> dict[str, int]:
    sizes = np.bincount([] if groups is None else groups)
    return {"images": int(sizes[sizes > 1].sum()), "groups": int((sizes > 1).sum())}


def open_split(folder: str | os.PathLike[str]) -> Split:
    """Return the split that a folder holds.

    Raises:
        UserError: exit 3 when it holds none, exit 4 for a damaged one.
    """
    manifest = read_manifest(folder, verify=True)
    if manifest.get("kind") != "split":
        raise bad_input(
            "the folder holds no split",
            where=str(folder),
            fix="check the path, or split the data first",
        )
    return Split(Path(folder), manifest, is_new=False)


def _same_split(folder: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    stored = open_split(folder).manifest
    if stored["dataset_fingerprint"] != recipe["dataset_fingerprint"]:
        raise mismatch(
            "the data was changed since it was split",
            where=f"{recipe['source']}; the split: {folder}",
            why="a new split would move images that a model was trained on into its test",
            fix="give the data as it was, or another folder for a new split",
        )
    differing = [key for key in ("seed", "near_duplicates") if stored.get(key) != recipe[key]]
    if differing:
        raise mismatch(
            f"the folder holds a split with another {' and '.join(differing)}",
            where=str(folder),
            fix="choose another folder",
        )
    return stored


def _names(samples: Samples) -> list[str]:
    """Return what the source calls each row's image, without the number of the caption."""
    if any(samples.shards):
        return list(samples.names)
    return [re.sub(r"#\d+$", "", key) for key in samples.keys]


def _columns(
    samples: Samples,
    image_key: str,
    caption_key: str,
    separator: str | None,
    groups: np.ndarray | None,
) -> dict[str, list[str]]:
    """Return the rows of all parts as columns of text; a table keeps its own columns."""
    if is_table(samples.source):
        columns = read_table(samples.source, separator, required=(image_key, caption_key))
    else:
        columns = {
            image_key: [_absolute(samples.image_path(row)) for row in range(len(samples))],
            caption_key: list(samples.captions),
            "shard": list(samples.shards),
            "key": list(samples.keys),
        }
        if samples.labelled.any():
            columns["group"] = [
                str(group) if known else ""
                for group, known in zip(samples.groups, samples.labelled, strict=True)
            ]
    if groups is not None and "group" not in columns:
        columns["group"] = [f"look {group}" for group in groups]
    return columns


def _absolute(path: str) -> str:
    """Return an absolute path; a member of a tar keeps its name, whatever dots are in it."""
    return path if is_url(path) else os.path.join(os.getcwd(), path)
