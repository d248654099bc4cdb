"""Unit vectors: the lengths of rows, and rows scaled to length 1.

All arrays of the project follow the rule of ``torch.nn.functional.normalize``, which tensors use: a
row is divided by the larger of its length and ``EPSILON``. A zero row stays zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

EPSILON = 1e-12
"""The smallest length that a row is divided by; the default of PyTorch."""
BLOCK_ROWS = 8192
"""Rows that are held in float64 at once."""


def row_lengths(rows: Any) -> np.ndarray:
    """Return the Euclidean lengths of rows, (N,) float64.

    Args:
        rows: (N, D), any floating dtype; an array, or anything that slices into arrays.
    """
    lengths = np.empty(len(rows), np.float64)
    for block in _blocks(len(rows)):
        lengths[block] = np.linalg.norm(np.asarray(rows[block], np.float64), axis=1)
    return lengths


def unit_rows(rows: Any, dtype: Any = np.float32) -> np.ndarray:
    """Return rows scaled to length 1.

    Lengths and quotients are computed in float64, then rounded once. A zero row stays zero; a row
    that holds NaN or infinity comes out with NaN.

    Args:
        rows: (N, D), any floating dtype; an array, or anything that slices into arrays.
        dtype: The dtype of the result.

    Returns:
        (N, D) array of ``dtype``, never a view of ``rows``.

    Example:
        >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
        array([[0.6, 0.8],
               [0. , 0. ]], dtype=float32)
    """
    unit = np.empty(rows.shape, dtype)
    with np.errstate(invalid="ignore"):  # infinity divided by infinity is NaN
        for block in _blocks(len(rows)):
            wide = np.asarray(rows[block], np.float64)
            lengths = np.linalg.norm(wide, axis=1, keepdims=True)
            unit[block] = wide / np.maximum(lengths, EPSILON)
    return unit


def rows_without_direction(rows: Any) -> np.ndarray:
    """Return the positions of rows that are zero or not finite, (M,) int64 ascending.

    Args:
        rows: (N, D), any floating dtype.
    """
    lengths = row_lengths(rows)
    return np.flatnonzero(~(np.isfinite(lengths) & (lengths > EPSILON)))


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK_ROWS) for start in range(0, count, BLOCK_ROWS))
