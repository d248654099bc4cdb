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


def similar_together(sides: list[np.ndarray], candidates: np.ndarray, others: np.ndarray, device: str = "cpu") -> np.ndarray:
    """Row numbers of the candidates, then of the others, in each part those together that are nearest to one pivot, pivots in one order.

    Pivots are candidates, evenly drawn, moved by one step of k-means on the sum of the similarities.

    Args:
        sides: (N, D) embeddings of one or two modalities, of any length. Rows that are zero or not finite go anywhere.
    """
    count = min(MOST_PIVOTS, len(candidates) // ROWS_PER_PIVOT)
    if count < 2:
        return np.concatenate((candidates, others))
    pivots = _joined(sides, candidates[_spread(len(candidates), count)], device)
    sample = _joined(sides, candidates[_spread(len(candidates), count * SAMPLE)], device)
    sums = torch.zeros_like(pivots).index_add_(0, (sample @ pivots.T).argmax(dim=1), sample)
    pivots = torch.nn.functional.normalize(sums + 1e-3 * pivots, dim=1)

    def nearest(numbers: np.ndarray) -> np.ndarray:
        return (_joined(sides, numbers, device) @ pivots.T).argmax(dim=1).cpu().numpy()

    parts = []
    for numbers in (candidates, others):
        cells = in_parallel(nearest, np.split(numbers, range(ROWS_AT_ONCE, len(numbers), ROWS_AT_ONCE)))
        parts.append(numbers[np.argsort(np.concatenate(cells), kind="stable")])
    return np.concatenate(parts)


def _spread(count: int, parts: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(parts, count)).astype(np.int64)


def _joined(sides: list[np.ndarray], numbers: np.ndarray, device: str) -> torch.Tensor:
    """(n, sum of D) float32: the unit rows of all modalities side by side, so that one product adds up their similarities."""
    parts = [torch.from_numpy(np.asarray(rows[numbers], dtype=np.float32)).to(device) for rows in sides]
    return torch.cat([torch.nn.functional.normalize(part, dim=1).nan_to_num_() for part in parts], dim=1)
