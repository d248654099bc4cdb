"""What a batch is made of: its rows, and the part each of them plays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ANCHOR, MINED, RANDOM, RESERVE = range(4)
"""Roles of a row in a batch: target; partner from its target's list; random row in an empty place; stand-in for an unreadable row."""


@dataclass(frozen=True)
class BatchPlan:
    """One rank's batch.

    Attributes:
        rows: (B,) int64 row numbers; with hard pairs: target, its partners, next target...
        roles: (B,) uint8: ANCHOR, MINED or RANDOM.
        reserves: int64 rows outside the global batch, no two ranks' the same.
        progress: epochs of the run that passed before it; a sampler does not know.
    """

    rows: np.ndarray
    roles: np.ndarray
    reserves: np.ndarray
    progress: float = 0.0
