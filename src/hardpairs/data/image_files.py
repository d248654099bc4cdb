"""Encoded images of a data set: files, members of tars, or bytes behind URLs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.remote import FilePath, file_path, is_url, read_range
from hardpairs.data.shards import ShardIndex

MAX_OPEN_TARS = 256


class ImageFiles:
    """The encoded images of rows. Safe in many threads and in forked workers.

    Args:
        paths: Files and tars, local or behind URLs.
        path_of_row: (N,) int32, each row's index in ``paths``.
        offset: (N,) int64, the first byte of a member of a tar; -1 for a whole file.
        size: (N,) int64, the bytes of a member of a tar.
    """

    def __init__(
        self, paths: list[str], path_of_row: np.ndarray, offset: np.ndarray, size: np.ndarray
    ) -> None:
        self.paths, self.path_of_row, self.offset, self.size = paths, path_of_row, offset, size
        self._open: dict[tuple[int, int], int] = {}

    @classmethod
    def of_names(cls, names: list[str]) -> ImageFiles:
        """Return the files of some names; ``.../00000.tar/000000012.jpg`` is a member of a tar."""
        tars: dict[str, dict[str, tuple[int, int]]] = {}
        paths: dict[str, int] = {}
        path_of_row = np.empty(len(names), np.int32)
        offset, size = np.full(len(names), -1, np.int64), np.full(len(names), -1, np.int64)
        for row, name in enumerate(names):
            tar, separator, member = name.rpartition(".tar/")
            path = name
            if separator and (is_url(tar) or os.path.isfile(tar + ".tar")):
                path = tar + ".tar"
                if path not in tars:
                    tars[path] = _members(path)
                offset[row], size[row] = tars[path].get(member.partition(".")[0], (0, -1))
            path_of_row[row] = paths.setdefault(path, len(paths))
        return cls(list(paths), path_of_row, offset, size)

    def read(self, row: int) -> bytes:
        """Return the encoded image of a row.

        Raises:
            OSError: The file cannot be read, or ends early.
        """
        path, offset, size = self._where(row)
        if offset < 0:
            return read_range(path) if is_url(path) else Path(path).read_bytes()
        if is_url(path):
            data = read_range(path, offset, size)
        else:
            data = os.pread(self._handle(int(self.path_of_row[row])), size, offset)
        if len(data) != size:
            raise OSError(f"{path} ends before byte {offset + size}")
        return data

    def is_absent(self, row: int) -> bool:
        """Return whether a row's image is a local file that is not there."""
        path, offset, _ = self._where(row)
        return offset < 0 and not is_url(path) and not os.path.isfile(path)

    def path_text(self, row: int, key: str) -> str:
        """Return where the image of a row is: a file, or ``TAR/KEY``."""
        path, offset, _ = self._where(row)
        return path if offset < 0 else f"{path}/{key}"

    def _where(self, row: int) -> tuple[str, int, int]:
        return self.paths[self.path_of_row[row]], int(self.offset[row]), int(self.size[row])

    def _handle(self, path: int) -> int:
        key = (os.getpid(), path)  # a forked worker opens its own
        if key not in self._open:
            if len(self._open) >= MAX_OPEN_TARS:
                oldest = next(iter(self._open))
                handle = self._open.pop(oldest)
                if oldest[0] == os.getpid():
                    os.close(handle)
            self._open[key] = os.open(self.paths[path], os.O_RDONLY)
        return self._open[key]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # spawned workers get no file handles


def _members(path: str) -> dict[str, tuple[int, int]]:
    index = ShardIndex.open(file_path(path))
    members = zip(index.keys, index.image_offset, index.image_size, strict=True)
    return {key: (offset, size) for key, offset, size in members if size >= 0}


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
    tar, separator, _ = name.rpartition(".tar/")
    return os.path.isfile(tar + ".tar" if separator else name)
