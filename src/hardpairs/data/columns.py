"""Embeddings in a column of parquet files, named ``PATH.parquet:COLUMN`` or ``FOLDER:COLUMN``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from hardpairs.core.errors import bad_input, usage
from hardpairs.core.remote import FilePath, file_path, is_file, is_url, open_in_order

UNREADABLE = (OSError, ValueError, pa.ArrowException)
"""What reading a damaged parquet file raises."""


def is_column(name: str) -> bool:
    """Return whether a name is that of a column, or of a parquet file that lacks one."""
    if is_url(name):
        return ".parquet" in name.rpartition("/")[2]
    return ":" in name or name.endswith(".parquet")


def parquet_source(path: FilePath) -> Path | IO[bytes]:
    """Return what pyarrow reads a file from, on disk or behind a URL."""
    return open_in_order(path) if isinstance(path, UPath) else path


def read_parquet(source: str | os.PathLike[str] | UPath | BinaryIO, columns: list[str]) -> pa.Table:
    """Read columns of a parquet file by this thread alone.

    Threads that ``pq.read_table`` leaves behind can abort the process as it ends
    (apache/arrow#34314).

    Raises:
        KeyError: A column does not exist.
        ValueError, OSError, pa.ArrowException: The file is not a parquet file, or damaged.
    """
    opened = parquet_source(source) if isinstance(source, UPath) else source
    with pq.ParquetFile(opened, pre_buffer=False) as content:
        table = content.read(columns=columns, use_threads=False).select(columns)
    table.validate(full=True)  # texts are Unicode, lists within their numbers
    return table


def load_column(name: str) -> np.ndarray:
    """Return the lists of numbers in a column as rows, (N, D) in the column's floating dtype.

    The rows are in memory, since parquet cannot be mapped. The ``*.parquet`` of a folder are read
    in the order of the numbers in their names.

    Args:
        name: ``PATH.parquet:COLUMN`` or ``FOLDER:COLUMN``; ``URL.parquet:COLUMN``.

    Raises:
        UserError: exit 2 when no column is named; exit 3 for files that cannot be read, and for a
            column of anything but lists of floating numbers, all of one length.
    """
    path, _, column = name.rpartition(":")
    if not path or column.endswith(".parquet"):
        raise usage("embeddings in a parquet file are given as PATH.parquet:COLUMN", where=name)
    place = file_path(path)
    files = [place]
    if not isinstance(place, UPath) and place.is_dir():
        files = sorted(place.glob("*.parquet"), key=_natural)
    if not files or not all(map(is_file, files)):
        raise bad_input("no such parquet file, or no *.parquet in the folder", where=path)
    try:
        return _read(files, column)
    except UNREADABLE as error:
        raise bad_input(f"not a readable parquet file: {error}", where=path) from None


def _natural(path: FilePath) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)
    ]


def _read(files: list[FilePath], column: str) -> np.ndarray:
    out, start = np.empty((0, 0)), 0
    for where, lists in _batches(files, column):
        rows = _rows(lists, where, start, out.shape[1])
        if not start:
            counts = [pq.read_metadata(parquet_source(each)).num_rows for each in files]
            out = np.empty((sum(counts), rows.shape[1]), rows.dtype)
        out[start : start + len(rows)] = rows
        start += len(rows)
    return out


def _batches(files: list[FilePath], column: str) -> Iterator[tuple[str, pa.Array]]:
    """Yield the column batch by batch, each with the file and column that it is from."""
    for file in files:
        with pq.ParquetFile(parquet_source(file)) as content:
            if column not in content.schema_arrow.names:
                raise bad_input(
                    f"no column {column!r}; it has {', '.join(sorted(content.schema_arrow.names))}",
                    where=str(file),
                )
            for batch in content.iter_batches(columns=[column]):
                batch.validate(full=True)
                if len(batch):
                    yield f"{file}:{column}", batch.column(0)


def _rows(lists: pa.Array, where: str, start: int, width: int) -> np.ndarray:
    """Return (n, D) rows of lists that have ``width`` numbers each; 0: as many as the first."""
    lists = lists.storage if isinstance(lists, pa.ExtensionArray) else lists
    kind = getattr(lists.type, "value_type", None)
    if kind is None or not pa.types.is_floating(kind):
        raise bad_input(
            f"the column must hold lists of floating numbers, not {lists.type}", where=where
        )
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    values = lists.flatten()
    width = width or int(lengths[0])
    empty = np.flatnonzero(lengths == 0)
    if len(empty) or values.null_count:
        which = f"row {start + empty[0]} is" if len(empty) else "numbers are"
        raise bad_input(f"{which} empty", where=where, fix="leave such rows out of both columns")
    wrong = np.flatnonzero(lengths != width)
    if len(wrong):
        raise bad_input(
            f"row {start + wrong[0]} has {lengths[wrong[0]]} numbers, row 0 has {width}",
            where=where,
        )
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(-1, width)
