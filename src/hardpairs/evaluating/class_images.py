"""Images with a class each: in class folders, or in CLIP_benchmark's shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hardpairs.core.errors import bad_input, usage
from hardpairs.data.clip_benchmark import clip_benchmark_shards, read_classes
from hardpairs.data.image_files import ImageFiles
from hardpairs.data.images import read_and_decode
from hardpairs.data.opening import open_samples
from hardpairs.data.samples import FOLDER
from hardpairs.data.shards import ShardIndex


@dataclass(frozen=True)
class ClassImages:
    """Images with a class each.

    Attributes:
        files: The encoded images.
        labels: (N,) int64, each image's class.
        names: The names of the classes, by number.
        are_folders: Whether the names are those of folders.
    """

    files: ImageFiles
    labels: np.ndarray
    names: list[str]
    are_folders: bool

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, i: int) -> Image.Image:
        """Return image i, RGB, or raise UnreadableImage."""
        return read_and_decode(lambda: self.files.read(i))

    @property
    def classes(self) -> list[str]:
        """Return a text for each class; those of shards have numbers: two may share a name."""
        return self.names if self.are_folders else [f"{i} {n}" for i, n in enumerate(self.names)]

    def labels_among(self, classes: Sequence[str]) -> np.ndarray:
        """Return (N,) int64, the place of each image's class in a list that has all of them."""
        place = {name: number for number, name in enumerate(classes)}
        return np.asarray(np.array([place[name] for name in self.classes])[self.labels])


def open_classes(folder: str) -> ClassImages:
    """Open images with a class each.

    Args:
        folder: A folder of class folders, or one in CLIP_benchmark's layout.

    Raises:
        UserError: Exit 2 for a folder that does not exist; exit 3 for images in less than two
            class folders, and for labels that are no class.
    """
    if not Path(folder).is_dir():
        raise usage(
            "no such folder", where=folder, fix="a folder with a folder of images for each class"
        )
    if shards := clip_benchmark_shards(folder, "classification"):
        return _from_shards(folder, shards)
    samples = open_samples(folder, group_key=FOLDER)
    class_of = [Path(key).parts[0] for key in samples.keys]
    names = sorted(set(class_of))
    if not samples.labelled.all() or len(names) < 2:
        raise bad_input("the images are not in folders of two classes or more", where=folder)
    numbers = {name: number for number, name in enumerate(names)}
    labels = np.array([numbers[name] for name in class_of], np.int64)
    files = ImageFiles.of_names([samples.image_path(row) for row in range(len(samples))])
    return ClassImages(files, labels, names, are_folders=True)


def _from_shards(folder: str, shards: list[Path]) -> ClassImages:
    names = read_classes(folder)
    indexes = [ShardIndex.open(path) for path in shards]
    texts = [text for index in indexes for text in index.groups]
    known = {str(number) for number in range(len(names))}
    if wrong := [text for text in texts if text not in known]:
        raise bad_input(
            f"{len(wrong)} of {len(texts)} labels are no class of the {len(names)} in the file "
            "of names",
            where=f"{folder}: the label {wrong[0]!r}",
            fix="a .cls from 0 in each sample, and a name a line",
        )
    files = ImageFiles(
        [str(path) for path in shards],
        np.repeat(np.arange(len(shards), dtype=np.int32), [len(index) for index in indexes]),
        np.concatenate([index.image_offset for index in indexes]),
        np.concatenate([index.image_size for index in indexes]),
    )
    return ClassImages(files, np.array([int(t) for t in texts], np.int64), names, False)
