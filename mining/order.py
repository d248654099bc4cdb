"""An order of rows in which similar ones stand together.

What is found does not depend on it, the time does: a row meets most of its best partners in its first tiles, so that its threshold is high
before the others come, and the rows that decide its list lie near each other in memory.
"""

from __future__ import annotations

import numpy as np
import torch

from mining.bound import ROWS_AT_ONCE
from mining.threads import in_parallel

ROWS_PER_PIVOT, MOST_PIVOTS = 256, 1024
SAMPLE = 16
"""Rows per pivot that its mean is taken of."""


def similar_together(sides: list[np.ndarray], numbers: np.ndarray, device: str = "cpu") -> np.ndarray:
    """``numbers`` (M,) with rows of one pivot together: one step of k-means from evenly drawn rows, on the sum of the similarities.

    Args:
        sides: (N, D) embeddings of one or two modalities, of any length. Rows that are zero or not finite go anywhere.
    """
    count = min(MOST_PIVOTS, len(numbers) // ROWS_PER_PIVOT)
    if count < 2:
        return numbers
    pivots = _joined(sides, numbers[_spread(len(numbers), count)], device)
    sample = _joined(sides, numbers[_spread(len(numbers), count * SAMPLE)], device)
    sums = torch.zeros_like(pivots).index_add_(0, (sample @ pivots.T).argmax(dim=1), sample)
    pivots = torch.nn.functional.normalize(sums + 1e-3 * pivots, dim=1)

    def nearest(start: int) -> np.ndarray:
        return (_joined(sides, numbers[start : start + ROWS_AT_ONCE], device) @ pivots.T).argmax(dim=1).cpu().numpy()

    cells = np.concatenate(in_parallel(nearest, range(0, len(numbers), ROWS_AT_ONCE)))
    return numbers[np.argsort(cells, kind="stable")]


def _spread(count: int, parts: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(parts, count)).astype(np.int64)


def _joined(sides: list[np.ndarray], numbers: np.ndarray, device: str) -> torch.Tensor:
    """(n, sum of D) float32: the unit rows of all modalities side by side, so that one product adds up their similarities."""
    parts = [torch.from_numpy(np.asarray(rows[numbers], dtype=np.float32)).to(device) for rows in sides]
    return torch.cat([torch.nn.functional.normalize(part, dim=1).nan_to_num_() for part in parts], dim=1)
