"""Embeddings in a column of parquet files, named ``PATH.parquet:COLUMN`` or ``FOLDER:COLUMN``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hardpairs.core.errors import bad_input, usage

UNREADABLE = (OSError, ValueError, pa.ArrowException)
"""What reading a damaged parquet file raises."""


def read_parquet(source: str | os.PathLike[str] | BinaryIO, columns: list[str]) -> pa.Table:
    """Read columns of a parquet file by this thread alone.

    Threads that ``pq.read_table`` leaves behind can abort the process as it ends
    (apache/arrow#34314).

    Raises:
        KeyError: A column does not exist.
        ValueError, OSError, pa.ArrowException: The file is not a parquet file, or damaged.
    """
    with pq.ParquetFile(source, pre_buffer=False) as content:
        table = content.read(columns=columns, use_threads=False).select(columns)
    table.validate(full=True)  # texts are Unicode, lists within their numbers
    return table


def load_column(name: str) -> np.ndarray:
    """Return the lists of numbers in a column as rows, (N, D) in the column's floating dtype.

    The rows are in memory, since parquet cannot be mapped. The ``*.parquet`` of a folder are read
    in the order of the numbers in their names.

    Args:
        name: ``PATH.parquet:COLUMN`` or ``FOLDER:COLUMN``.

    Raises:
        UserError: exit 2 when no column is named; exit 3 for files that cannot be read, and for a
            column of anything but lists of floating numbers, all of one length.
    """
    path, _, column = name.rpartition(":")
    if not path or column.endswith(".parquet"):
        raise usage("embeddings in a parquet file are given as PATH.parquet:COLUMN", where=name)
    files = (
        sorted(Path(path).glob("*.parquet"), key=_natural) if Path(path).is_dir() else [Path(path)]
    )
    if not files or not all(file.is_file() for file in files):
        raise bad_input("no such parquet file, or no *.parquet in the folder", where=path)
    try:
        return _read(files, column)
    except UNREADABLE as error:
        raise bad_input(f"not a readable parquet file: {error}", where=path) from None


def _natural(path: Path) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)
    ]


def _read(files: list[Path], column: str) -> np.ndarray:
    out, start = np.empty((0, 0)), 0
    for where, lists in _batches(files, column):
        rows = _rows(lists, where, start, out.shape[1])
        if not start:
            out = np.empty(
                (sum(pq.read_metadata(file).num_rows for file in files), rows.shape[1]), rows.dtype
            )
        out[start : start + len(rows)] = rows
        start += len(rows)
    return out


def _batches(files: list[Path], column: str) -> Iterator[tuple[str, pa.Array]]:
    """Yield the column batch by batch, each with the file and column that it is from."""
    for file in files:
        with pq.ParquetFile(file) as content:
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
