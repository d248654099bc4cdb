"""An order of rows in which similar ones stand together.

What is found does not depend on it, the time does: a row meets most of its best partners in its first tiles, so that its threshold is high
before the others come, and the rows that decide its list lie near each other in memory.
"""

from __future__ import annotations

import numpy as np
import torch

from hardpairs.core.ranks import ALONE, Ranks
from hardpairs.core.threads import in_parallel
from hardpairs.mining.bound import ROWS_AT_ONCE
from hardpairs.mining.work import Work

ROWS_PER_PIVOT, MOST_PIVOTS = 256, 1024
SAMPLE = 16
"""Rows per pivot that its mean is taken of."""


def similar_together(
    sides: list[np.ndarray],
    candidates: np.ndarray,
    others: np.ndarray,
    device: str = "cpu",
    work: Work | None = None,
    ranks: Ranks = ALONE,
) -> np.ndarray:
    """Row numbers of the candidates, then of the others, in each part those together that are nearest to one pivot, pivots in one order.

    Pivots are candidates, evenly drawn, moved by one step of k-means on the sum of the similarities.

    Args:
        sides: (N, D) embeddings of one or two modalities, of any length. Rows that are zero or not finite go anywhere.
        work, ranks: several ranks share the work, and hand the results to each other.
    """
    count = min(MOST_PIVOTS, len(candidates) // ROWS_PER_PIVOT)
    if count < 2:
        return np.concatenate((candidates, others))
    pivots = _joined(sides, candidates[_spread(len(candidates), count)], device)
    sample = _joined(sides, candidates[_spread(len(candidates), count * SAMPLE)], device)
    sums = torch.zeros_like(pivots).index_add_(0, (sample @ pivots.T).argmax(dim=1), sample)
    pivots = torch.nn.functional.normalize(sums + 1e-3 * pivots, dim=1)

    def nearest(part: np.ndarray) -> np.ndarray:
        return (_joined(sides, part, device) @ pivots.T).argmax(dim=1).cpu().numpy()

    ordered = []
    for name, numbers in (("candidates", candidates), ("others", others)):
        own = numbers[slice(*ranks.share(0, len(numbers)))]
        cells = in_parallel(nearest, np.split(own, range(ROWS_AT_ONCE, len(own), ROWS_AT_ONCE)))
        ordered.append(
            numbers[
                np.argsort(
                    _of_all_ranks(np.concatenate(cells), f"cells_{name}", work, ranks),
                    kind="stable",
                )
            ]
        )
    return np.concatenate(ordered)


def _of_all_ranks(own: np.ndarray, name: str, work: Work | None, ranks: Ranks) -> np.ndarray:
    if work is None or ranks.world_size == 1:
        return own
    work.save(f"{name}_{ranks.rank}", cells=own)
    ranks.barrier()
    stored = [work.load(f"{name}_{rank}") for rank in range(ranks.world_size)]
    return np.concatenate([part["cells"] for part in stored if part is not None])


def _spread(count: int, parts: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(parts, count)).astype(np.int64)


def _joined(sides: list[np.ndarray], numbers: np.ndarray, device: str) -> torch.Tensor:
    """(n, sum of D) float32: the unit rows of all modalities side by side, so that one product adds up their similarities."""
    parts = [
        torch.from_numpy(np.asarray(rows[numbers], dtype=np.float32)).to(device) for rows in sides
    ]
    return torch.cat(
        [torch.nn.functional.normalize(part, dim=1).nan_to_num_() for part in parts], dim=1
    )
