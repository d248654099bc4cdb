"""Files of a folder of embeddings: parts in the order of their numbers, on disk or behind a URL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from hardpairs.core.errors import bad_input, mismatch
from hardpairs.core.remote import FilePath, file_path, list_files
from hardpairs.data.columns import UNREADABLE, parquet_source, read_parquet
from hardpairs.data.npy_files import map_array
from hardpairs.data.remote_rows import Rows, check_embeddings, open_remote_rows
from hardpairs.data.stacked import Stacked

FACTS = ("row", "group", "same_image", "caption", "url")
"""Columns of the metadata that we read, ours or others'."""


def load_array(path: str | os.PathLike[str] | UPath, sha256: str | None = None) -> Rows:
    """Open a 2-d floating ``.npy`` file without unpickling: memory-mapped, or behind a URL.

    Args:
        path: The file.
        sha256: Of a file behind a URL, which is checked where it is read from start to end.

    Raises:
        UserError: exit 3 when it is not such a file; exit 2 when there is none behind a URL.
    """
    place = file_path(path)
    if isinstance(place, UPath):
        return open_remote_rows(place, sha256)
    try:
        array = map_array(place)
    except ValueError as error:
        raise bad_input(f"not a readable .npy file: {error}", where=str(path)) from None
    check_embeddings(array.shape, array.dtype, str(path))
    return array


def read_vectors(folder: FilePath, name: str, manifest: Mapping[str, Any]) -> Rows:
    """Return the vectors of all parts of a kind.

    Args:
        folder: The folder of embeddings.
        name: The kind, ``img_emb`` or ``text_emb``.
        manifest: The folder's; empty where it has none.

    Raises:
        UserError: exit 3 for missing or unreadable files, exit 4 for parts that do not fit
            together.
    """
    paths = _parts(folder, name, ".npy", manifest)
    if not paths:
        raise bad_input(
            f"no {name}/{name}_*.npy",
            where=str(folder),
            why="a web server must list its folders, or the folder have the manifest.json of "
            "hardpairs embed"
            if isinstance(folder, UPath)
            else "",
            fix="give a folder of embeddings, ours or clip-retrieval's",
        )
    if [_part_number(path) for path in paths] != list(range(len(paths))):
        raise mismatch(
            f"parts of {name} are missing: found {', '.join(path.name for path in paths)}",
            where=str(folder),
        )
    files = manifest.get("files", {})
    parts = [load_array(path, files.get(f"{name}/{path.name}", {}).get("sha256")) for path in paths]
    widths = {part.shape[1] for part in parts}
    if len(widths) > 1:
        raise mismatch(
            f"parts of {name} have different widths: {sorted(widths)}", where=str(folder)
        )
    return parts[0] if len(parts) == 1 else Stacked(parts)


def read_metadata(folder: FilePath, manifest: Mapping[str, Any]) -> dict[str, pa.ChunkedArray]:
    """Return the columns of ``FACTS`` that all parts have.

    Args:
        folder: The folder of embeddings.
        manifest: The folder's; empty where it has none.
    """
    paths = _parts(folder, "metadata", ".parquet", manifest)
    tables = [_read_facts(path) for path in paths]
    shared = (
        sorted(set.intersection(*(set(table.column_names) for table in tables))) if tables else []
    )
    if not shared:
        return {}
    try:
        table = pa.concat_tables(
            [table.select(shared) for table in tables], promote_options="default"
        )  # a part may hold nulls alone
    except pa.ArrowException as error:
        raise bad_input(
            f"the parts' columns are not of one type: {error}",
            where=str(folder / "metadata"),
            fix="make it again",
        ) from None
    return {name: table[name] for name in shared}


def _parts(folder: FilePath, name: str, suffix: str, manifest: Mapping[str, Any]) -> list[FilePath]:
    """Return the files ``NAME_NUMBER`` in the order of their numbers.

    A folder behind a URL that has a manifest is not listed: many web servers do not.
    """
    paths: list[FilePath]
    if not isinstance(folder, UPath):
        paths = list((folder / name).glob(f"{name}_*{suffix}"))
    elif manifest:
        paths = [folder / file for file in manifest["files"] if file.startswith(f"{name}/")]
    else:
        paths = list_files(folder / name, f"{name}_*{suffix}")
    for path in paths:
        if not path.stem.removeprefix(f"{name}_").isdecimal():
            raise bad_input(
                f"{path.name} is not a part: parts are {name}_NUMBER{suffix}",
                where=str(path),
                fix="move it elsewhere",
            )
    return sorted(paths, key=_part_number)


def _part_number(path: FilePath) -> int:
    return int(path.stem.rpartition("_")[2])


def _read_facts(path: FilePath) -> pa.Table:
    try:
        names = pq.read_schema(parquet_source(path)).names
        return read_parquet(path, [name for name in FACTS if name in names])
    except UNREADABLE as error:
        raise bad_input(
            f"not a readable parquet file: {error}",
            where=str(path),
            fix="copy the folder again, or make it again",
        ) from None
