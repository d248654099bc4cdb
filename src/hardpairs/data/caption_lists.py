"""Lists of captioned images: the folders of Flickr8k and Flickr30k, and JSON lines.

Flickr8k is ``captions.txt`` (image,caption) beside ``Images/``. CLIPSE's copies of it and of
Flickr30k have tabs, and its index of COCO has a JSON object in each line. MiniCLIP has a JSON list.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hardpairs.core.errors import UserError, bad_input, usage
from hardpairs.core.parse import parse_json
from hardpairs.core.remote import FilePath
from hardpairs.data.tables import warn_of_repeated

LISTS = ("captions.txt", "captions.tsv", "captions.csv", "annotations.tsv")
IMAGE_FOLDERS = ("Images", "images", "flickr30k-images")
IMAGE_KEYS = ("image", "image_path", "filepath", "file_name", "path")
CAPTION_KEYS = ("captions", "caption", "texts", "text", "title")
"""Keys of a JSON object in the order in which they are looked for."""

Pairs = tuple[list[str], list[str]]
"""Names of images, and a caption for each; an image with several captions has several rows."""


def list_in(folder: Path) -> tuple[Path, Path] | None:
    """Return the list of captions in a folder and the folder of its images; None without both."""
    lists = [folder / name for name in LISTS if (folder / name).is_file()]
    images = [folder / name for name in IMAGE_FOLDERS if (folder / name).is_dir()]
    return (lists[0], images[0]) if lists and images else None


def read_list(path: Path) -> Pairs:
    """Return images and captions of a list with the columns ``image`` and ``caption``.

    Flickr8k's captions hold commas without quotes; the last column takes what follows.

    Raises:
        UserError: Exit 3 without these columns, exit 2 for rows of several splits.
    """
    try:
        header, rows = _header_and_rows(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise bad_input(
            f"not a readable list: {error}", where=str(path), fix="save it as UTF-8 text"
        ) from None
    warn_of_repeated(header, str(path))
    columns: dict[str, tuple[str, ...]] = {}
    for name, values in zip(header, zip(*rows, strict=True), strict=False):
        columns.setdefault(name, values)
    splits = sorted(set(columns.get("split", ())))
    if len(splits) > 1:
        raise usage(
            f"the list has rows of several splits: {', '.join(splits)}",
            where=str(path),
            why="rows to test on would be trained on",
            fix="a table of each split",
        )
    if not columns:
        raise bad_input("the list has a header and no rows", where=str(path))
    return list(columns["image"]), [caption.strip() for caption in columns["caption"]]


def _header_and_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        line = file.readline()
        separator = "\t" if "\t" in line else ","
        header = [name.strip() for name in line.strip().split(separator)]
        if not {"image", "caption"} <= set(header):
            raise bad_input(
                f"no columns image and caption; columns found: {', '.join(header)}",
                where=f"{path}, line 1",
            )
        rows = []
        for number, row in enumerate(csv.reader(file, delimiter=separator), start=2):
            if row and len(row) < len(header):
                raise bad_input(
                    f"{len(row)} values where the header has {len(header)}",
                    where=f"{path}, about line {number}",
                )
            rows += [_fields(row, len(header), separator)] if row else []
        return header, rows


def _fields(row: list[str], count: int, separator: str) -> list[str]:
    """Return the values of a row; the last one takes the separators that are too many."""
    return [*row[: count - 1], separator.join(row[count - 1 :])]


def read_json_lines(path: FilePath) -> Pairs:
    """Return images and captions of a file with a JSON object in each line.

    Raises:
        UserError: Exit 3, naming the first line that is none or has no image or caption.
    """
    images: list[str] = []
    captions: list[str] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            for image, caption in _pairs_of(line, f"{path}, line {number}") if line.strip() else ():
                images.append(image)
                captions.append(caption)
    if not images:
        raise bad_input("the file has no rows", where=str(path))
    return images, captions


def _pairs_of(line: bytes, where: str) -> Iterator[tuple[str, str]]:
    try:
        entry: dict[str, Any] = parse_json(line)
        image = next(entry[key] for key in IMAGE_KEYS if key in entry)
        captions = next(entry[key] for key in CAPTION_KEYS if key in entry)
    except (ValueError, TypeError, StopIteration):
        raise bad_input(
            "not a JSON object with an image and its captions",
            where=where,
            fix='{"image": "a.jpg", "captions": ["a red box", "a box"]}',
        ) from None
    for caption in captions if isinstance(captions, list) else [captions]:
        yield str(image), str(caption).strip()


def read_captions_json(path: FilePath, entries: Any) -> Pairs:
    """Return images and captions of MiniCLIP's list of {"file_name", "caption"}.

    Args:
        path: The file, for errors.
        entries: Its content.

    Raises:
        UserError: Exit 3 for an entry without one of the two, or a name that leaves the folder.
    """
    try:
        names = [str(entry["file_name"]) for entry in entries]
        captions = [str(entry["caption"] or "").strip() for entry in entries]
    except (KeyError, TypeError):
        raise no_captions(path, "an entry lacks one of the two, or no list") from None
    if not names:
        raise no_captions(path, "the list is empty")
    unsafe = [name for name in names if os.path.isabs(name) or ".." in Path(name).parts]
    if unsafe:
        raise bad_input("a file name leaves the image folder", where=f"{path}: {unsafe[0]}")
    return names, captions


def no_captions(path: FilePath, why: str) -> UserError:
    """Return the error of a JSON file that holds no captions (exit 3)."""
    return bad_input(
        "not captions as MiniCLIP has them",
        where=str(path),
        why=why,
        fix='[{"file_name": "a.jpg", "caption": "a red box"}, ...]',
    )
