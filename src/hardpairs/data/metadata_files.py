"""Folders of images with ``metadata.jsonl``, ``metadata.csv`` or ``metadata.parquet``.

Hugging Face's datasets library calls them ``imagefolder``. A row has ``file_name``, relative to the
folder of its file, and a caption; a file may be in each folder below.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from hardpairs.core.errors import bad_input, usage
from hardpairs.core.parse import parse_json
from hardpairs.data.caption_lists import CAPTION_KEYS
from hardpairs.data.columns import UNREADABLE, read_parquet
from hardpairs.data.tables import read_table

NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
FILE_NAME = "file_name"
PARTS = {"train", "test", "val", "validation", "valid"}


class MetadataRows(NamedTuple):
    """The rows of a folder's metadata.

    Attributes:
        images: Paths of the images, relative to the folder.
        captions: A caption for each; empty where there is none.
        groups: A group for each; empty where there is none.
    """

    images: list[str]
    captions: list[str]
    groups: list[str]


def metadata_files(folder: Path) -> list[Path]:
    """Return the metadata files in a folder and below, at most one for each folder."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in NAMES if name in files][:1]
    return found


def read_metadata(
    folder: Path, files: list[Path], *, caption_key: str, group_key: str
) -> MetadataRows:
    """Return the rows of the metadata files of a folder.

    Args:
        folder: The folder.
        files: From ``metadata_files``.
        caption_key: Column of the captions; empty: the first of ``CAPTION_KEYS``.
        group_key: Column of the groups, which may be absent.

    Raises:
        UserError: Exit 2 for files of several parts, such as ``train`` and ``test``; exit 3 for
            files that cannot be read, that have no such columns, and for names that leave the
            folder.
    """
    parts = [file.relative_to(folder).parts[0] for file in files]
    if len(set(parts) & PARTS) > 1:
        raise usage(
            f"the folder has metadata of several parts: {', '.join(sorted(set(parts) & PARTS))}",
            where=str(folder),
            why="rows to test on would be trained on",
            fix="name one of the folders",
        )
    rows = MetadataRows([], [], [])
    for file in files:
        inside = file.parent.relative_to(folder)
        for number, entry in enumerate(_entries(file)):
            where = f"{file}, row {number}"
            image = str(inside / _image(entry, where))
            captions = _captions(entry, caption_key, where)
            rows.images.extend([image] * len(captions))
            rows.captions.extend(captions)
            rows.groups.extend([_text(entry.get(group_key))] * len(captions))
    if not rows.images:
        raise bad_input("the metadata has no rows", where=", ".join(map(str, files)))
    return rows


def _entries(file: Path) -> Iterable[Mapping[str, Any]]:
    if file.suffix == ".csv":
        columns = read_table(str(file), ",", required=(FILE_NAME,))
        rows = zip(*columns.values(), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]
    try:
        if file.suffix == ".parquet":
            names = [field.name for field in pq.read_schema(file) if _is_plain(field.type)]
            return list(read_parquet(str(file), names).to_pylist())
        lines = file.read_text(encoding="utf-8-sig").split("\n")
        entries = [parse_json(line) for line in lines if line.strip()]
    except UNREADABLE as error:
        raise bad_input(f"not readable metadata: {error}", where=str(file)) from None
    if not all(isinstance(entry, dict) for entry in entries):
        raise bad_input("a line is no JSON object", where=str(file))
    return entries


def _is_plain(kind: pa.DataType) -> bool:
    return not pa.types.is_struct(kind)


def _image(entry: Mapping[str, Any], where: str) -> str:
    name = entry.get(FILE_NAME)
    if not isinstance(name, str) or not name:
        raise bad_input(f"no {FILE_NAME}; there are: {', '.join(map(str, entry))}", where=where)
    if os.path.isabs(name) or ".." in Path(name).parts:
        raise bad_input("a file name leaves the image folder", where=f"{where}: {name}")
    return name


def _captions(entry: Mapping[str, Any], key: str, where: str) -> list[str]:
    name = key or next((name for name in CAPTION_KEYS if name in entry), "")
    if name not in entry:
        raise bad_input(
            f"no caption; there are: {', '.join(map(str, entry))}",
            where=where,
            fix="name the column of the captions: `caption_key`",
        )
    value = entry[name]
    return [_text(each) for each in value] or [""] if isinstance(value, list) else [_text(value)]


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
