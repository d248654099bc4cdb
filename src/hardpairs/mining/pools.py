"""Which rows are searched for whose hard pairs: all of them, or seeded random pools."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hardpairs.mining.options import MiningOptions


@dataclass(frozen=True)
class Pool:
    """Targets, and the candidates that they share.

    Attributes:
        targets: (T,) int64 row numbers, ascending.
        candidates: (P,) int64 row numbers, ascending.
    """

    targets: np.ndarray
    candidates: np.ndarray


class Pools:
    """The pools of a search, each a pure function of the rows, the options and its number.

    Args:
        count: N rows of the data.
        exclude: Row numbers that are neither targets nor candidates.
        options: The size of a pool, how many targets share it, and the seed.

    Attributes:
        rows: (M,) int64 rows that are not excluded, ascending.
        takes_all: All of them are candidates of each.
    """

    def __init__(self, count: int, exclude: np.ndarray | None, options: MiningOptions) -> None:
        usable = np.ones(count, bool)
        usable[np.asarray([] if exclude is None else exclude, dtype=np.int64)] = False
        self.rows = np.flatnonzero(usable)
        self._options = options
        self.takes_all = options.approx is None or options.approx >= len(self.rows)
        self._targets = max(1, len(self.rows))
        if options.approx_targets is not None and not self.takes_all:
            self._targets = options.approx_targets

    def __len__(self) -> int:
        """Return the number of pools, at least 1."""
        return max(1, math.ceil(len(self.rows) / self._targets))

    def __getitem__(self, number: int) -> Pool:
        """Return a pool; pool 0 is that of a search with one pool for all targets."""
        targets = self.rows[number * self._targets : (number + 1) * self._targets]
        if self.takes_all:
            return Pool(targets, self.rows)
        generator = np.random.default_rng([self._options.seed, number])
        drawn = generator.choice(self.rows, self._options.approx, replace=False)
        return Pool(targets, np.sort(drawn))
