"""Files that are complete or absent.

A file is written under a temporary name in the same folder, flushed to disk, and renamed; then the
folder is flushed.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO


@contextlib.contextmanager
def atomic_open(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file that appears under ``path`` when the block ends without an error.

    Example:
        >>> with atomic_open("table.npy") as file:
        ...     numpy.save(file, table)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _fsync_folder(path.parent)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically, without changing its line ends."""
    with atomic_open(path) as file:
        file.write(text.encode("utf-8"))


def write_csv(
    path: str | os.PathLike[str],
    columns: Sequence[str],
    rows: Iterable[Iterable[object]],
    *,
    line_end: str = "\r\n",
) -> int:
    """Write a CSV file atomically, row by row.

    Args:
        path: The file.
        columns: Names of the columns, for the first line.
        rows: The values of each row.
        line_end: End of each line; the default is that of RFC 4180.

    Returns:
        The number of rows.
    """
    count = 0
    with atomic_open(path) as binary:
        file = io.TextIOWrapper(binary, encoding="utf-8", newline="")
        try:
            writer = csv.writer(file, lineterminator=line_end)
            writer.writerow(columns)
            for row in rows:
                writer.writerow(row)
                count += 1
        finally:
            file.detach()  # flushes; the binary file is closed and renamed by its own block
    return count


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write indented JSON atomically.

    Raises:
        ValueError: The value holds NaN or infinity, which JSON lacks.
    """
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Return what ``write_json`` writes."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _fsync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot fsync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
