"""Embeddings in several files, read by rows and never joined in memory."""

from __future__ import annotations

import numpy as np


class Stacked:
    """Arrays of one width that read like one array, by slices and by arrays of row numbers.

    Args:
        parts: Arrays (n, D); where their dtypes differ, rows have the dtype that holds all.

    Example:
        >>> Stacked([np.zeros((2, 3)), np.ones((2, 3))])[np.array([1, 2])]
        array([[0., 0., 0.],
               [1., 1., 1.]])
    """

    ndim = 2

    def __init__(self, parts: list[np.ndarray]) -> None:
        self.parts = parts
        self.starts = np.cumsum([0, *map(len, parts)])
        self.dtype = np.result_type(*parts)
        self.shape = (int(self.starts[-1]), parts[0].shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        numbers = np.arange(len(self))[rows]
        out = np.empty((len(numbers), self.shape[1]), self.dtype)
        owner = np.searchsorted(self.starts, numbers, side="right") - 1
        for part in np.unique(owner):
            own = owner == part
            out[own] = self.parts[part][numbers[own] - self.starts[part]]
        return out

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)
