"""Embeddings in several files, read by rows and never joined in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from hardpairs.core.memory import release


def row_numbers(rows: slice | np.ndarray, count: int) -> np.ndarray:
    """Return the row numbers that a slice, a mask or an array of numbers names.

    Args:
        rows: What stands in brackets; numbers may count from the end.
        count: Number of all rows.

    Raises:
        IndexError: There is no such row.
    """
    if isinstance(rows, slice):
        return np.arange(*rows.indices(count))
    numbers = np.asarray(rows)
    numbers = np.arange(count)[numbers] if numbers.dtype == bool else numbers.astype(np.int64)
    if len(numbers) and not -count <= numbers.min() <= numbers.max() < count:
        raise IndexError(f"row numbers must be from {-count} to {count - 1}")
    return np.where(numbers < 0, numbers + count, numbers)


class Stacked:
    """Arrays of one width that read like one array, by slices and by arrays of row numbers.

    Args:
        parts: Arrays (n, D), or what reads like one; where their dtypes differ, rows have the dtype
            that holds all.

    Example:
        >>> Stacked([np.zeros((2, 3)), np.ones((2, 3))])[np.array([1, 2])]
        array([[0., 0., 0.],
               [1., 1., 1.]])
    """

    ndim = 2

    def __init__(self, parts: list[Any]) -> None:
        self.parts = parts
        self.starts = np.cumsum([0, *map(len, parts)])
        self.dtype = np.result_type(*(part.dtype for part in parts))
        self.shape = (int(self.starts[-1]), parts[0].shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        numbers = row_numbers(rows, len(self))
        out = np.empty((len(numbers), self.shape[1]), self.dtype)
        owner = np.searchsorted(self.starts, numbers, side="right") - 1
        for part in np.unique(owner):
            own = owner == part
            out[own] = self.parts[part][numbers[own] - self.starts[part]]
        return out

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


def leave_to_disk(rows: Any) -> None:
    """Give back the memory of rows that were read from a mapped file, or written there.

    Arrays in memory, maps whose changes are private, and rows behind URLs stay as they are.
    """
    for part in rows.parts if isinstance(rows, Stacked) else [rows]:
        is_mapped = isinstance(part, np.memmap) and part.mode in ("r", "r+")
        if is_mapped and part.flags.c_contiguous:
            release(part)
