"""Encoded images of a data set: files, members of tars, or bytes behind URLs."""

from __future__ import annotations

import os
import resource
import threading
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np

from hardpairs.core.errors import TOO_MANY_OPEN, too_many_open
from hardpairs.core.paths import RefusedFile, read_regular
from hardpairs.core.remote import FilePath, file_path, is_known_url, is_url, read_range
from hardpairs.data.members import TarPaths, member_key
from hardpairs.data.read_ahead import ByteRange, ReadAhead
from hardpairs.data.shards import ShardIndex

MAX_BYTES = 100_000_000
"""Larger encoded images are not read."""
MAX_OPEN_TARS = 256
SHARE_OF_OPEN_FILES = 8
"""One part in so many of the files that a process may have open is for tars."""


class ImageFiles:
    """The encoded images of rows. Safe in many threads and in forked workers.

    Args:
        paths: Files and tars, local or behind URLs.
        path_of_row: (N,) int32, each row's index in ``paths``.
        offset: (N,) int64, the first byte of a member of a tar; -1 for a whole file.
        size: (N,) int64, the bytes of a member of a tar.
        names: (N,) texts, the names that the images were given by; ``None``: their paths.
        allow_remote: Whether URLs are read.
    """

    def __init__(
        self,
        paths: list[str],
        path_of_row: np.ndarray,
        offset: np.ndarray,
        size: np.ndarray,
        names: list[str] | None = None,
        *,
        allow_remote: bool = False,
    ) -> None:
        self.paths, self.path_of_row, self.offset, self.size = paths, path_of_row, offset, size
        self.names, self.allow_remote = names, allow_remote
        self._open: dict[int, int] = {}  # handles of tars, the one opened first at the start
        self._locks: dict[int, threading.Lock] = {}  # by process
        self._ahead: dict[int, ReadAhead] = {}  # by process

    @classmethod
    def of_names(cls, names: list[str], *, allow_remote: bool = False) -> ImageFiles:
        """Return the files of some names; ``.../00000.tar/000000012.jpg`` is a member of a tar.

        Args:
            names: (N,) paths and URLs. A URL that cannot be read is an unreadable image.
            allow_remote: Whether URLs are read.
        """
        tars: dict[str, _Members] = {}
        paths: dict[str, int] = {}
        path_of_row = np.empty(len(names), np.int32)
        offset, size = np.full(len(names), -1, np.int64), np.full(len(names), -1, np.int64)
        tar_paths = TarPaths()
        for row, name in enumerate(names):
            tar, member = tar_paths.split(name)
            if tar and is_url(tar) and not (allow_remote and is_known_url(tar)):
                tar, member = "", name
            if tar and tar not in tars:
                tars[tar] = _Members(tar)
            if tar:
                offset[row], size[row] = tars[tar].place(member)
            path_of_row[row] = paths.setdefault(tar or member, len(paths))
        return cls(list(paths), path_of_row, offset, size, names, allow_remote=allow_remote)

    def read(self, row: int) -> bytes:
        """Return the encoded image of a row.

        Raises:
            RefusedFile: It is a pipe or a device, larger than ``MAX_BYTES``, or a URL that is not
                allowed or of an unknown kind.
            OSError: The file cannot be read, or ends early.
        """
        path, offset, size = self._where(row)
        if size > MAX_BYTES:
            raise RefusedFile("too_large", path)
        if is_url(path):
            self._check_url(path)
        if offset < 0:
            return _whole_behind(path) if is_url(path) else read_regular(path, MAX_BYTES)
        if is_url(path):
            data = self._begun.take(ByteRange(path, offset, size)) or read_range(path, offset, size)
        else:
            data = self._read_local(int(self.path_of_row[row]), size, offset)
        if len(data) != size:
            raise OSError(f"{path} ends before byte {offset + size}")
        return data

    def read_ahead(self, rows: Iterable[int]) -> None:
        """Begin to read the images of some rows in tars behind URLs, and forget other begun ones.

        ``read`` then takes each once. Other images are read when they are asked for.
        """
        if self._is_remote:
            ranges = (ByteRange(*self._where(row)) for row in rows)
            self._begun.begin(
                one for one in ranges if is_url(one.url) and 0 < one.size <= MAX_BYTES
            )

    @cached_property
    def _is_remote(self) -> bool:
        return any(map(is_url, self.paths))

    @property
    def _begun(self) -> ReadAhead:
        return self._ahead.setdefault(os.getpid(), ReadAhead())

    def _check_url(self, path: str) -> None:
        if not self.allow_remote:
            raise RefusedFile("remote", path)
        if not is_known_url(path):
            raise RefusedFile("unknown_url", path)

    def is_absent(self, row: int) -> bool:
        """Return whether a row's image is a local file that is not there."""
        path, offset, _ = self._where(row)
        return offset < 0 and not is_url(path) and not os.path.isfile(path)

    def path_text(self, row: int, key: str) -> str:
        """Return where the image of a row is: a file, or ``TAR/KEY``."""
        if self.names is not None:
            return self.names[row]
        path, offset, _ = self._where(row)
        return path if offset < 0 else f"{path}/{key}"

    def _where(self, row: int) -> tuple[str, int, int]:
        return self.paths[self.path_of_row[row]], int(self.offset[row]), int(self.size[row])

    def _read_local(self, path: int, size: int, offset: int) -> bytes:
        lock = self._locks.setdefault(os.getpid(), threading.Lock())  # a fork may copy a held one
        try:
            with lock:  # another thread may close the handle, but not its copy
                handle = os.dup(self._handle(path))
        except OSError as error:
            if error.errno in TOO_MANY_OPEN:
                raise too_many_open(self.paths[path]) from None
            raise
        try:
            return os.pread(handle, size, offset)
        finally:
            os.close(handle)

    def _handle(self, path: int) -> int:
        if path not in self._open:
            while len(self._open) >= _most_open_tars():
                os.close(self._open.pop(next(iter(self._open))))
            self._open[path] = os.open(self.paths[path], os.O_RDONLY)
        return self._open[path]

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "_open": {},
            "_locks": {},
            "_ahead": {},
        }  # none for spawned workers


def _whole_behind(url: str) -> bytes:
    data = read_range(url, 0, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise RefusedFile("too_large", url)
    return data


def _most_open_tars() -> int:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(1, min(MAX_OPEN_TARS, allowed // SHARE_OF_OPEN_FILES))


class _Members:
    """The images in a tar by key."""

    def __init__(self, tar: str) -> None:
        index = ShardIndex.open(file_path(tar))
        members = zip(index.keys, index.image_offset, index.image_size, strict=True)
        self._places = {key: (int(first), int(size)) for key, first, size in members if size >= 0}

    def place(self, member: str) -> tuple[int, int]:
        """Return first byte and size of an image; (0, -1) for one that is not in the tar."""
        key = member_key(member)
        return self._places.get(key) or self._composed.get(_composed(key)) or (0, -1)

    @cached_property
    def _composed(self) -> dict[str, tuple[int, int]]:
        """The places by key in Unicode's composed form, since editors change a table's form."""
        return {_composed(key): place for key, place in self._places.items()}


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def found_beside(names: list[str], table: FilePath) -> list[str]:
    """Return the paths of a table's images.

    Args:
        names: Paths as the table has them.
        table: The table.

    Returns:
        The names; below the table's folder if the first relative one is there and not below the
        working folder.
    """
    first = next((name for name in names if _is_relative(name)), "")
    if not first or _exists(first) or not _exists(str(table.parent / first)):
        return names
    return [str(table.parent / name) if _is_relative(name) else name for name in names]


def _is_relative(name: str) -> bool:
    return bool(name) and not is_url(name) and not os.path.isabs(name)


def _exists(name: str) -> bool:
    tar, file = TarPaths().split(name)
    return bool(tar) or os.path.isfile(file)
