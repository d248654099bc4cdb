"""Files that are complete or absent.

A file is written under a temporary name in the same folder, flushed to disk, and renamed; then the
folder is flushed, and once the folders above it, which may be new. A writer also removes what
killed ones have left in the folder. What is behind a URL appears whole as well
(``hardpairs.core.remote_writing``).
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from hardpairs.core.errors import full_disk
from hardpairs.core.shared_files import is_remote
from hardpairs.core.temporary import temporary_file

if TYPE_CHECKING:
    from upath import UPath


@contextlib.contextmanager
def atomic_open(
    path: str | os.PathLike[str] | UPath, needed: int | None = None
) -> Iterator[BinaryIO]:
    """Open a binary file that appears under ``path`` when the block ends without an error.

    Args:
        path: The file, or its URL as ``remote_writing.output_folder`` returns it.
        needed: Its bytes, where they are known, for the message of a full disk.

    Raises:
        DiskFull: The disk or the quota is full; a command ends with 5.

    Example:
        >>> with atomic_open("table.npy") as file:
        ...     numpy.save(file, table)
    """
    if is_remote(path):
        from hardpairs.core.remote_writing import open_whole

        with open_whole(path, needed) as remote:
            yield remote
        return
    path = Path(path)
    make_folder(path.parent)
    with temporary_file(path) as temporary:
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException as error:
            written = 0
            with contextlib.suppress(OSError):
                written = os.stat(temporary).st_size
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            full = full_disk(error)
            if full is not None and full.errno != errno.EROFS:
                takes = f"more than {size_text(written)}" if needed is None else size_text(needed)
                raise _disk_full(path, full, takes) from error
            raise
    flush_names(path.parent)


class DiskFull(OSError):
    """A full disk or quota.

    Attributes:
        why: What the file takes, and what is free.
    """

    why = ""


def _disk_full(path: Path, error: OSError, takes: str) -> DiskFull:
    free = 0
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(path.parent).free
    full = DiskFull(error.errno, error.strerror, str(path))
    full.why = (
        f"the file takes {takes}, and {size_text(free)} are free; what was there before stays"
    )
    return full


def size_text(count: int) -> str:
    """Return a number of bytes for people."""
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count:,} bytes"


def write_text(path: str | os.PathLike[str] | UPath, text: str) -> None:
    """Write UTF-8 text atomically, without changing its line ends.

    What UTF-8 cannot hold, such as bytes of a file's name, is escaped.
    """
    with atomic_open(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def append_text(path: str | os.PathLike[str], text: str) -> None:
    """Add text to a file in UTF-8: all of it, or nothing when the disk is full.

    Args:
        path: The file; it is made where it is not there.
        text: Whole lines.

    Raises:
        OSError: With the file's name.
    """
    with open(path, "ab", buffering=0) as file:
        before, left = file.tell(), memoryview(text.encode("utf-8", "backslashreplace"))
        try:
            while left:
                left = left[file.write(left) :]
        except OSError as error:
            os.truncate(path, before)
            error.filename = os.fspath(path)
            raise


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
        file = io.TextIOWrapper(binary, "utf-8", "backslashreplace", newline="")
        try:
            file.writelines(csv_lines([columns], line_end))
            for line in csv_lines(rows, line_end):
                file.write(line)
                count += 1
        finally:
            file.detach()  # flushes; the binary file is closed and renamed by its own block
    return count


def csv_lines(rows: Iterable[Iterable[object]], line_end: str = "\r\n") -> Iterator[str]:
    """Yield the lines of a CSV file, with their ends.

    Rows that hold a carriage return are quoted: ``csv.writer`` quotes them from Python 3.12.3 on.

    Args:
        rows: The values of each row.
        line_end: End of each line.
    """
    text = io.StringIO(newline="")
    plain = csv.writer(text, lineterminator=line_end)
    quoted = csv.writer(text, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    for row in rows:
        values = list(row)
        has_return = any(isinstance(value, str) and "\r" in value for value in values)
        (quoted if has_return else plain).writerow(values)
        yield text.getvalue()
        text.seek(0)
        text.truncate()


def write_json(path: str | os.PathLike[str] | UPath, value: Any) -> None:
    """Write indented JSON atomically.

    Raises:
        ValueError: The value holds NaN or infinity, which JSON lacks.
    """
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Return what ``write_json`` writes."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; ``flush_names`` then flushes their names, too."""
    if not folder.is_dir():
        _reachable.pop(folder.absolute(), None)
        folder.mkdir(parents=True, exist_ok=True)


def flush_names(folder: Path) -> None:
    """Flush to disk which files a folder has, and once that the folder itself is there.

    A crash may otherwise lose new names and bring removed ones back, in any order.
    """
    _fsync_folder(folder)
    folder = folder.absolute()
    with contextlib.suppress(FileNotFoundError):  # somebody has removed it
        inode = os.stat(folder).st_ino
        if _reachable.get(folder) != inode:
            for above in folder.parents:
                _fsync_folder(above)
                if os.path.ismount(above):
                    break
            _reachable[folder] = inode


_reachable: dict[Path, int] = {}
"""Inodes of the folders whose own names this process has flushed."""


def _fsync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot fsync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
