"""Files that processes share, in a folder or behind a URL, by the same functions.

What is behind a URL is left to ``hardpairs.core.remote`` and ``hardpairs.core.remote_writing``.
They are imported where a URL is met: fsspec takes a fifth of a second.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import TypeIs
    from upath import UPath

    from hardpairs.core.remote import FilePath


def is_remote(path: str | os.PathLike[str] | UPath) -> TypeIs[UPath]:
    """Return whether a path is a URL; a text that names one is no path."""
    return not isinstance(path, str) and "://" in str(path)


def exists(path: FilePath) -> bool:
    """Return whether there is a file."""
    if not is_remote(path):
        return path.is_file()
    from hardpairs.core.remote import is_file

    return is_file(path)


def read(path: FilePath) -> bytes:
    """Return the content of a small file.

    Raises:
        OSError: FileNotFoundError where there is none, or another one where it cannot be read.
        UserError: Exit 3 for a server that does not answer.
    """
    if not is_remote(path):
        return path.read_bytes()
    from hardpairs.core import remote_writing

    return remote_writing.read(path)


def open_to_read(path: FilePath) -> IO[bytes]:
    """Open a file that can be read in any order."""
    if not is_remote(path):
        return path.open("rb")
    from hardpairs.core.remote import open_in_order

    return open_in_order(path)


def files_in(folder: FilePath, pattern: str) -> list[FilePath]:
    """Return the files of a folder whose names match a glob, sorted; none without a folder."""
    if not is_remote(folder):
        return [*sorted(folder.glob(pattern))]
    from hardpairs.core.remote import list_files

    return sorted(list_files(folder, pattern), key=str)


def create(path: FilePath, content: bytes) -> bool:
    """Make a file, and return whether that was possible: of several processes one makes it."""
    if is_remote(path):
        from hardpairs.core import remote_writing

        return remote_writing.create(path, content)
    with contextlib.suppress(FileExistsError), open(path, "xb") as file:
        file.write(content)
        return True
    return False


def sign(path: FilePath, content: bytes) -> None:
    """Give a file the present time.

    Args:
        path: The file.
        content: Of the file. An object has the time at which it was written, and is written again.
    """
    if not is_remote(path):
        return os.utime(path)
    from hardpairs.core import remote_writing

    remote_writing.write(path, content)


def signed_at(path: FilePath) -> float:
    """Return when a file was made or signed, in seconds by the clock of its server.

    Raises:
        FileNotFoundError: There is none.
    """
    if not is_remote(path):
        return path.stat().st_mtime
    from hardpairs.core import remote_writing

    return remote_writing.written_at(path)


def time_at(folder: FilePath) -> float:
    """Return the time of the server that keeps a folder: that of a file which is new there."""
    if is_remote(folder):
        from hardpairs.core import remote_writing

        return remote_writing.time_at(folder)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".time-") as file:
        return os.fstat(file.fileno()).st_mtime


def remove(path: FilePath) -> None:
    """Remove a file, if there is one."""
    if not is_remote(path):
        return path.unlink(missing_ok=True)
    from hardpairs.core import remote_writing

    remote_writing.remove(path)


def remove_folder(folder: FilePath) -> None:
    """Remove a folder and what is in it."""
    if not is_remote(folder):
        return shutil.rmtree(folder)
    from hardpairs.core import remote_writing

    remote_writing.remove_folder(folder)
