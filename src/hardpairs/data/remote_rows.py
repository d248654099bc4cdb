"""Rows of ``.npy`` files behind URLs, read by ranges of bytes and never all at once."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from upath import UPath

from hardpairs.core.chunks import CHUNK, CHUNKS
from hardpairs.core.errors import bad_input, mismatch, usage
from hardpairs.core.ranges import request_range
from hardpairs.core.remote import answers, check_ranges, is_file, read_range, size_of
from hardpairs.data.npy_files import MOST_HEADER, read_header
from hardpairs.data.stacked import Stacked, row_numbers

GAP = 64 << 10
"""Bytes that are read between two rows, where that saves a request."""
MANY = 16
"""Rows of a span from which on the next rows are likely to be wanted, too."""
AT_ONCE = 64
"""Requests for single rows that are on their way at once."""


class RemoteRows:
    """The array of a ``.npy`` file behind a URL, read by slices and by arrays of row numbers.

    Neighboring rows come by chunks, of which the process holds a bounded number, and rows apart by
    requests of their own.

    Args:
        url: A URL of fsspec.
        header: The bytes of the file before its first row.
        shape: (N, D).
        dtype: Dtype of the rows.
        sha256: Hex sha256 of the file, where one is known.
    """

    ndim = 2

    def __init__(
        self,
        url: str,
        header: bytes,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        sha256: str | None = None,
    ) -> None:
        self.url, self.shape, self.dtype, self.sha256 = url, shape, dtype, sha256
        self._header = header
        self._row_bytes = shape[1] * dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice) and rows.step in (None, 1):
            start, stop, _ = rows.indices(len(self))
            return self._range(start, max(start, stop))
        numbers = row_numbers(rows, len(self))
        order = np.argsort(numbers, kind="stable")
        ascending = numbers[order]
        out = np.empty((len(numbers), self.shape[1]), self.dtype)
        spans = list(itertools.pairwise([0, *self._span_ends(ascending)]))
        for first in range(0, len(spans), AT_ONCE):
            part = [slice(*span) for span in spans[first : first + AT_ONCE]]
            begun = [self._begin(ascending[span]) for span in part]
            for span, wait in zip(part, begun, strict=True):
                out[order[span]] = wait()[ascending[span] - ascending[span][0]]
        return out

    def checked_blocks(self, rows: int) -> Iterator[np.ndarray]:
        """Yield all rows in order, block by block.

        Args:
            rows: Rows of a block.

        Raises:
            UserError: exit 4 at the end, where the file's sha256 is not what it should be.
        """
        digest = hashlib.sha256(self._header)
        for start in range(0, len(self), rows):
            block = self[start : start + rows]
            digest.update(block.data)
            yield block
        if self.sha256 is not None and digest.hexdigest() != self.sha256:
            raise mismatch(
                "the file's sha256 is not the manifest's: it is damaged or was changed",
                where=self.url,
                fix="upload the folder again, or embed again",
            )

    def _span_ends(self, ascending: np.ndarray) -> list[int]:
        """Return where spans of rows that are read together end, among ascending row numbers."""
        if not len(ascending):
            return []
        apart = np.diff(ascending) > max(1, GAP // self._row_bytes)
        runs = np.concatenate(([0], np.cumsum(apart)))
        starts = ascending[np.concatenate(([0], np.flatnonzero(apart) + 1))]
        pieces = (ascending - starts[runs]) // max(1, CHUNK // self._row_bytes)
        cuts = np.flatnonzero(apart | (np.diff(pieces) != 0)) + 1
        return [*cuts.tolist(), len(ascending)]

    def _begin(self, ascending: np.ndarray) -> Callable[[], np.ndarray]:
        """Begin to read from the first to the last of some rows, and return what waits for them.

        Large spans are left to the chunks.
        """
        start, stop = int(ascending[0]), int(ascending[-1]) + 1
        size = (stop - start) * self._row_bytes
        if size > GAP or len(ascending) > MANY:
            return lambda: self._range(start, stop)
        begun = request_range(self.url, len(self._header) + start * self._row_bytes, size)

        def wait() -> np.ndarray:
            with answers(self.url):
                data = begun.result()
                if len(data) != size:
                    raise ConnectionError(f"{len(data)} bytes came, not {size}")
            return np.frombuffer(data, self.dtype).reshape(-1, self.shape[1])

        return wait

    def _range(self, start: int, stop: int) -> np.ndarray:
        out = np.empty((stop - start, self.shape[1]), self.dtype)
        size = len(self._header) + len(self) * self._row_bytes
        offset = len(self._header) + start * self._row_bytes
        with answers(self.url):
            CHUNKS.read_into(out.reshape(-1).view(np.uint8), self.url, offset, size)
        return out


Rows = np.ndarray | Stacked | RemoteRows
"""(N, D) embeddings: in one array, in several files, or behind URLs."""


def is_remote(rows: Rows) -> bool:
    """Return whether any of the rows are behind a URL."""
    return any(isinstance(part, RemoteRows) for part in _parts(rows))


def blocks_in_order(rows: Rows, size: int) -> Iterator[np.ndarray]:
    """Yield all rows block by block. Files behind URLs are checked on the way.

    Args:
        rows: The rows.
        size: Rows of a block, at most.

    Raises:
        UserError: exit 4 for a file whose sha256 is not what it should be.
    """
    for part in _parts(rows):
        if isinstance(part, RemoteRows):
            blocks = part.checked_blocks(size)
        else:
            blocks = (part[start : start + size] for start in range(0, len(part), size))
        for block in blocks:
            yield block.astype(rows.dtype, copy=False)


def _parts(rows: Rows) -> list[Any]:
    return rows.parts if isinstance(rows, Stacked) else [rows]


def open_remote_rows(path: UPath, sha256: str | None = None) -> RemoteRows:
    """Open a ``.npy`` file behind a URL.

    Args:
        path: The file.
        sha256: Hex sha256 of the file, which is checked where the file is read from start to end.

    Raises:
        UserError: exit 2 when there is none, exit 3 for a server that does not answer or has no
            ranges of bytes, and for a file that is not a whole 2-d floating array, row by row.
    """
    url = str(path)
    if not is_file(path):
        raise usage("no such file", where=url, fix="check the address")
    check_ranges(path)
    size = size_of(path)
    with answers(url):
        beginning = read_range(url, 0, min(size, MOST_HEADER)) if size else b""
    try:
        header = read_header(beginning)
    except ValueError as error:
        raise bad_input(f"not a readable .npy file: {error}", where=url) from None
    check_embeddings(header.shape, header.dtype, url)
    if header.by_columns or not header.shape[1]:
        raise bad_input(
            "the file holds columns, or rows without numbers",
            where=url,
            why="rows are read one by one",
            fix="save np.ascontiguousarray(embeddings)",
        )
    count, width = header.shape
    expected = header.bytes + count * width * header.dtype.itemsize
    if size != expected:
        raise bad_input(
            f"the file has {size} bytes, and its header says {expected}",
            where=url,
            fix="upload it again",
        )
    return RemoteRows(url, beginning[: header.bytes], (count, width), header.dtype, sha256)


def check_embeddings(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> None:
    """Refuse an array that holds no embeddings (exit 3).

    Args:
        shape: Its shape.
        dtype: Its dtype.
        where: Its file, for the message.
    """
    if len(shape) != 2 or dtype.kind != "f":
        raise bad_input(
            f"embeddings must be a 2-d floating array, not {len(shape)}-d {dtype}", where=where
        )
