"""Files of benchmarks that let a model choose between captions, or between images.

``open_choices`` reads SugarCrepe, Winoground, ColorSwap, ARO and VALSE, each as it is published:
JSON, JSON lines or parquet. ``choice_fields`` says by which fields they are known.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hardpairs.core.errors import bad_input, usage
from hardpairs.core.parse import parse_json
from hardpairs.data.choice_fields import (
    ONE_IMAGE,
    Box,
    Layout,
    box_of,
    captions_of,
    check_fields,
    group_of,
    layout_of,
)
from hardpairs.data.images import MAX_PIXELS, UnreadableImage, read_and_decode

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp")
"""What Winoground's names of images lack."""
ENDINGS = (".json", ".jsonl", ".parquet")
VALID_VOTES = 2
"""VALSE: of three people, those that took the caption and not the foil for right."""


@dataclass(frozen=True)
class ChoiceImages:
    """Different images, each a file or its bytes, some of them a part of a larger one.

    Attributes:
        sources: A path or an encoded image each.
        boxes: The part of each, or ``None`` for all of it.
    """

    sources: list[str | bytes] = field(default_factory=list)
    boxes: list[Box | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sources)

    def image(self, i: int) -> Image.Image:
        """Return image i, RGB.

        Raises:
            UnreadableImage: It cannot be read or decoded.
        """
        source, box = self.sources[i], self.boxes[i]
        decoded = read_and_decode(
            lambda: source if isinstance(source, bytes) else Path(source).read_bytes()
        )
        if box is None:
            return decoded
        if (box[2] - box[0]) * (box[3] - box[1]) > MAX_PIXELS:
            raise UnreadableImage("too_many_pixels")
        return decoded.crop(box)  # what lies outside is black, as in ARO

    def missing(self) -> list[str]:
        """Return the paths where no file is."""
        return [s for s in self.sources if isinstance(s, str) and not os.path.isfile(s)]


@dataclass(frozen=True)
class Choices:
    """The items of a benchmark.

    Attributes:
        name: The benchmark.
        captions: The different captions.
        images: The different images.
        image_of: (N, I) int64, an item's images.
        text_of: (N, C) int64, an item's captions. Caption i is right for image i.
        groups: N names of what the score is averaged over; empty without any.
        least: Number of items that a group needs to count.
        not_valid: Number of VALSE's items that are left out because people did not confirm them.
    """

    name: str
    captions: list[str]
    images: ChoiceImages
    image_of: np.ndarray
    text_of: np.ndarray
    groups: list[str]
    least: int
    not_valid: int

    def __len__(self) -> int:
        return len(self.image_of)


def open_choices(
    source: str | os.PathLike[str], images: str | os.PathLike[str] | None = None
) -> Choices:
    """Open the file of a benchmark, or a folder of its files.

    Args:
        source: A ``.json``, ``.jsonl`` or ``.parquet`` file, or a folder of them. The files of a
            folder are what the score is averaged over, where the items do not say that.
        images: Folder of the images; by default that of the file, or ``images`` in it. Parquet
            files with the images in them need none.

    Raises:
        UserError: Exit 2 for a path that does not exist or files of several benchmarks, exit 3 for
            fields that are missing, naming them, and for images of which none is there.
    """
    files = _files(Path(source))
    root = _image_root(files[0].parent, images)
    reader = _Reader(root)
    for path in files:
        reader.add(path, name_files=len({_part(path) for path in files}) > 1)
    choices = reader.choices(str(source))
    missing = choices.images.missing()
    if missing and len(missing) == len(choices.images):
        raise bad_input(
            "none of the images is there",
            where=missing[0],
            fix="name their folder: `images`",
        )
    return choices


def _files(source: Path) -> list[Path]:
    if source.is_file() and source.suffix.lower() in ENDINGS:
        return [source]
    if not source.exists():
        raise usage("no such file or folder", where=str(source), fix="check the path")
    found: list[Path] = []
    for folder in (source, source / "data"):
        if folder.is_dir() and not found:
            found = sorted(p for p in folder.iterdir() if p.suffix.lower() in ENDINGS)
    if not found:
        raise usage(
            "`choices` is a .json, .jsonl or .parquet file, or a folder of them", where=str(source)
        )
    parts = sorted({_part(path) for path in found if path.suffix.lower() == ".parquet"})
    if len(parts) > 1:
        raise usage(
            f"the folder has parquet files of several parts: {', '.join(parts)}",
            where=str(source),
            why="some may be for training",
            fix="name one file, or a folder with one part",
        )
    return found


def _part(path: Path) -> str:
    """Return the name of a file without the numbers that Hugging Face gives to its pieces."""
    return re.sub(r"-\d{5}-of-\d{5}.*$", "", path.stem)


def _image_root(beside: Path, images: str | os.PathLike[str] | None) -> Path:
    if images is None:
        return beside / "images" if (beside / "images").is_dir() else beside
    if not Path(images).is_dir():
        raise usage("no such folder of `images`", where=str(images), fix="check the path")
    return Path(images)


class _Reader:
    """Collects items, and gives each different image and caption one number."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout: Layout | None = None
        self.images = ChoiceImages()
        self.captions: dict[str, int] = {}
        self.image_of: list[list[int]] = []
        self.text_of: list[list[int]] = []
        self.groups: list[str] = []
        self.not_valid = 0
        self._numbers: dict[tuple[Any, Box | None], int] = {}

    def add(self, path: Path, *, name_files: bool) -> None:
        """Add the items of a file."""
        image_field = ""
        for key, item in _items(path):
            where = f"{path}, item {key}"
            if not image_field:
                layout = layout_of(item, where)
                if self.layout not in (None, layout):
                    raise usage(
                        f"files of several benchmarks: {layout.name} beside {self.layout.name}",
                        where=str(path),
                        fix="name one file",
                    )
                self.layout = layout
                image_field = next((name for name in ONE_IMAGE if name in item), "")
            assert self.layout is not None
            names = self.layout.images or (image_field,)
            check_fields(item, (*names, *self.layout.fields), where)
            votes = item.get("mturk")
            if isinstance(votes, Mapping) and votes.get("caption", VALID_VOTES) < VALID_VOTES:
                self.not_valid += 1
                continue
            box = box_of(item, where)
            self.image_of.append([self._image(item, name, box, where) for name in names])
            captions = captions_of(item, self.layout.captions, where)
            if self.text_of and len(captions) != len(self.text_of[0]):
                raise bad_input(
                    f"{len(captions)} captions, where others have {len(self.text_of[0])}",
                    where=where,
                )
            self.text_of.append([self.captions.setdefault(c, len(self.captions)) for c in captions])
            self.groups.append(group_of(item, self.layout) or (_part(path) if name_files else ""))

    def _image(self, item: Mapping[str, Any], name: str, box: Box | None, where: str) -> int:
        value = item[name]
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, Mapping):  # an image of Hugging Face's datasets
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            identity: Any = hashlib.sha256(value).digest()
        elif isinstance(value, str) and value:
            value = identity = self._path(value, str(item.get("dataset") or ""), where)
        else:
            raise bad_input(f"the field {name} is no image", where=where)
        number = self._numbers.setdefault((identity, box), len(self.images))
        if number == len(self.images):
            self.images.sources.append(value)
            self.images.boxes.append(box)
        return number

    def _path(self, name: str, dataset: str, where: str) -> str:
        """Return the path of an image.

        VALSE's may be in folders of their data sets; Winoground's names have no ending.
        """
        if os.path.isabs(name) or ".." in Path(name).parts:
            raise bad_input(f"an image's name leaves the folder: {name}", where=where)
        endings = ("",) if Path(name).suffix.lower() in (*EXTENSIONS, ".gif") else ("", *EXTENSIONS)
        folders = (self.root, self.root / dataset) if dataset else (self.root,)
        tried = [f"{folder / name}{ending}" for folder in folders for ending in endings]
        return next(filter(os.path.isfile, tried), tried[0])

    def choices(self, source: str) -> Choices:
        """Return what was collected."""
        if self.layout is None or not self.text_of:
            raise bad_input(
                f"no item; {self.not_valid} are not valid" if self.not_valid else "no item",
                where=source,
            )
        return Choices(
            self.layout.name,
            list(self.captions),
            self.images,
            np.array(self.image_of, np.int64),
            np.array(self.text_of, np.int64),
            self.groups if any(self.groups) else [],
            self.layout.least,
            self.not_valid,
        )


def _items(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield a file's items with their keys or numbers."""
    try:
        if path.suffix.lower() == ".parquet":
            yield from _parquet_items(path)
            return
        with open(path, encoding="utf-8") as file:
            if path.suffix.lower() == ".jsonl":
                content: Any = [parse_json(line) for line in file if line.strip()]
            else:
                content = parse_json(file.read())
    except (ValueError, OSError) as error:
        raise bad_input(f"the file cannot be read: {error}", where=str(path)) from None
    if not isinstance(content, dict | list):
        raise bad_input("not a list of items, nor items by their keys", where=str(path))
    entries = content.items() if isinstance(content, dict) else enumerate(content)
    for key, item in entries:
        if not isinstance(item, dict):
            raise bad_input(
                f"an item is an object with fields, not {str(item)[:60]!r}",
                where=f"{path}, item {key}",
                fix="a list of items, or items by their keys",
            )
        yield str(key), item


def _parquet_items(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    from pyarrow import parquet

    row = 0
    with parquet.ParquetFile(path, pre_buffer=False) as file:  # as in ``columns.read_parquet``
        for batch in file.iter_batches(batch_size=64, use_threads=False):
            for item in batch.to_pylist():
                yield str(row), item
                row += 1
