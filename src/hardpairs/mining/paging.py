"""Rows in mapped files, of which no more are in memory than a plan allows."""

from __future__ import annotations

import math
import mmap

import numpy as np

from hardpairs.data.stacked import leave_to_disk


class Paging:
    """The mapped rows of a search.

    Args:
        arrays: The unit vectors, all of as many rows.
        resident: Rows that may be in memory; 0 for no limit.
    """

    def __init__(self, arrays: list[np.ndarray], resident: int) -> None:
        self._arrays, self.resident, self._read = arrays, resident, 0

    def expect(self, rows: int) -> None:
        """Make room for so many rows, which are about to be read or written."""
        if self.resident and self._read + rows > self.resident:
            for array in self._arrays:
                leave_to_disk(array)
            self._read = 0
        self._read += rows

    def expect_scattered(self, rows: int) -> None:
        """Make room for rows that stand anywhere: each takes all pages that it lies on."""
        sizes = [array.strides[0] for array in self._arrays]
        pages = sum(size + mmap.PAGESIZE for size in sizes) / sum(sizes)
        self.expect(math.ceil(rows * pages))

    def pieces(self, start: int, stop: int, reads: int = 1) -> list[tuple[int, int]]:
        """Return parts of a range that fit, each of whose items reads ``reads`` rows at most."""
        size = max(1, self.resident // reads) if self.resident else max(1, stop - start)
        return [(first, min(first + size, stop)) for first in range(start, stop, size)]
