"""Files behind URLs that are written: each appears whole, or not at all.

That is the promise of object stores (``s3://``, ``gs://``, ``abfs://``). They have no folders, so
none is made.
"""

from __future__ import annotations

import contextlib
import io
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from upath import UPath

from hardpairs.core.errors import usage
from hardpairs.core.remote import FilePath, asked, file_path, no_answer

READ_ONLY = ("http", "https")
"""Protocols of servers that take no files."""
NO_LISTS: dict[str, Any] = {"use_listings_cache": False}
"""Option of fsspec by which no list of files is kept: what others write must be seen at once."""
MIB = 1 << 20
MOST_PARTS = 9_000
"""Parts of an upload; S3 takes 10,000."""
USUAL_PART = 50 * MIB
"""Bytes of a part, which is held in memory, by the stores' own packages."""
BUFFER = MIB
"""Bytes that are collected before they go into an upload."""
T = TypeVar("T")


def output_folder(name: str | os.PathLike[str] | UPath) -> FilePath:
    """Return the local folder or the URL of a name that files are written under.

    Raises:
        UserError: Exit 2 for a URL that cannot be written to.
    """
    path = file_path(name)
    if not isinstance(path, UPath):
        return path
    if path.protocol in ("file", "local"):
        return Path(path.path)
    if path.protocol in READ_ONLY:
        raise usage(
            "a web server takes no files",
            where=str(name),
            fix="name a local folder, or a place in an object store: s3://, gs://",
        )
    if options := {*path.storage_options} - {*NO_LISTS}:
        raise usage(
            f"the output URL has options of its own: {', '.join(sorted(options))}",
            where=str(name),
            fix="put them into the environment or fsspec's configuration files, and give a text",
        )
    if magic := {*path.path} & {*"*?["}:
        raise usage(
            f"the output URL has characters of a pattern: {' '.join(sorted(magic))}",
            where=str(name),
            fix="choose a name without them",
        )
    fresh: UPath = UPath(str(path), **NO_LISTS)
    return fresh


@contextlib.contextmanager
def open_whole(path: UPath, needed: int | None = None) -> Iterator[BinaryIO]:
    """Open a file to be written from its start; it appears when the block ends without an error.

    Args:
        path: The file.
        needed: Its bytes, where they are known: more than 470 GB are sent in larger parts.

    Raises:
        UserError: Exit 3 for a server that does not take it.
    """
    part = ((needed or 0) // MOST_PARTS // MIB + 1) * MIB
    options = {"block_size": part} if part > USUAL_PART else {}
    with _told(path):
        target = path.fs.open(path.path, "wb", autocommit=False, **options)
    path.fs.transaction.files.remove(target)  # fsspec would keep it for a transaction of its own
    upload = _Upload(target, path)
    try:
        file = io.BufferedWriter(upload, BUFFER)
        yield cast(BinaryIO, file)
        file.flush()
        with _told(path):
            target.close()
            target.commit()
    except BaseException:
        upload.has_ended = True
        with contextlib.suppress(Exception):  # it is incomplete, and was never there
            target.discard()
        raise


class _Upload(io.RawIOBase):
    """An upload whose errors are the user's; after its end it takes what a buffer still has."""

    has_ended = False

    def __init__(self, target: Any, path: UPath) -> None:
        self._target, self._path = target, path

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.has_ended:
            return len(data)
        with _told(self._path):
            return int(self._target.write(bytes(data)))


def write(path: UPath, content: bytes) -> None:
    """Write a small file, in place of what was there."""
    with _told(path):
        asked(lambda: path.fs.pipe_file(path.path, content))


def create(path: UPath, content: bytes) -> bool:
    """Write a small file that is not there, and return whether that was so.

    Where the store cannot tell, two processes at the same time may both be told so.
    """

    def question() -> bool:
        if path.fs.exists(path.path):
            return False
        try:
            path.fs.pipe_file(path.path, content, mode="create")
        except FileExistsError:
            return False
        except Exception:
            if path.fs.exists(path.path):  # not every package names the refusal so
                return False
            raise
        return True

    with _told(path):
        return asked(question)


def read(path: UPath) -> bytes:
    """Return the content of a small file.

    Raises:
        FileNotFoundError: There is none.
    """
    return _answer(path, lambda: bytes(path.fs.cat_file(path.path)))


def written_at(path: UPath) -> float:
    """Return when a file was written, in seconds by the clock of its server.

    Raises:
        FileNotFoundError: There is none.
    """
    return _answer(path, lambda: float(path.fs.modified(path.path).timestamp()))


def time_at(folder: UPath) -> float:
    """Return the time of the server of a folder: that of a file which is new there."""
    path = folder / f".time-{uuid.uuid4().hex}"
    write(path, b"")
    try:
        return written_at(path)
    finally:
        remove(path)


def remove(path: UPath) -> None:
    """Remove a file, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        _answer(path, lambda: path.fs.rm_file(path.path))


def remove_folder(folder: UPath) -> None:
    """Remove all files under a URL."""
    with contextlib.suppress(FileNotFoundError):
        _answer(folder, lambda: folder.fs.rm(folder.path, recursive=True))


def _answer(path: UPath, question: Callable[[], T]) -> T:
    """Return a server's answer about a file.

    Raises:
        FileNotFoundError: The answer is that there is none.
    """
    missing = object()

    def ask() -> T | object:
        try:
            return question()
        except FileNotFoundError:  # as good an answer as another: it is not asked again
            return missing

    with _told(path):
        answer = asked(ask)
    if answer is missing:
        raise FileNotFoundError(str(path))
    return cast(T, answer)


@contextlib.contextmanager
def _told(path: UPath) -> Iterator[None]:
    """Turn a server's refusal into the user's error (exit 3)."""
    try:
        yield
    except Exception as error:  # each file system has exceptions of its own
        raise no_answer(str(path), error) from error
