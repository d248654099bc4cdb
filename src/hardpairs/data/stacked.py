"""Parts of an array that stay in their files: embeddings in several ``.npy`` are read by rows, never joined in memory."""

from __future__ import annotations

import numpy as np


class Stacked:
    """Arrays of one width, one after the other, read like one array by slices and by arrays of row numbers.

    Args:
        parts: each (n, D); where their dtypes differ, rows come in the one that holds all.

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
            places = owner == part
            out[places] = self.parts[part][numbers[places] - self.starts[part]]
        return out

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)
