"""What a search returns, put together from lists in search order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardpairs.mining import kernel
from hardpairs.mining.filters import REMOVED_BY, Filters


@dataclass(frozen=True)
class Found:
    """Hard pairs and what was passed over.

    Attributes:
        indices: (N, K) int64, hardest first, padded with -1. scores: (N, K) float32, padded with 0.
        kept: listed pairs. removed: for each filter, candidates that it removed (``hardpairs.mining.filters``); candidates = kept + all removed.
    """

    indices: np.ndarray
    scores: np.ndarray
    kept: int
    removed: dict[str, int]

    def of_dataset(self, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(indices, scores) of all ``count`` rows of a dataset of which ``rows`` (N,) were searched; the others' lists are empty."""
        indices, scores = (
            np.full((count, self.indices.shape[1]), -1, np.int64),
            np.zeros((count, self.indices.shape[1]), np.float32),
        )
        indices[rows] = np.where(self.indices >= 0, rows[self.indices], -1)
        scores[rows] = self.scores
        return indices, scores


@dataclass(frozen=True)
class Lists:
    """Final lists of a range of rows in search order, ``depth`` wide: see ``kernel.finish``."""

    indices: np.ndarray
    scores: np.ndarray
    removed: np.ndarray


class Table:
    """Lists of all N rows by row number, cut to the wanted ranks, and the sums of what was removed.

    Args:
        count: N. order: (M,) row numbers in search order, the ``pool`` candidates first. top_k: K.
    """

    def __init__(
        self, count: int, order: np.ndarray, pool: int, top_k: int, filters: Filters, method: str
    ) -> None:
        self.order, self.pool, self.top_k, self.filters, self.method = (
            order,
            pool,
            top_k,
            filters,
            method,
        )
        self.indices, self.scores = (
            np.full((count, top_k), -1, np.int64),
            np.zeros((count, top_k), np.float32),
        )
        self.kept, self.removed = 0, dict.fromkeys(REMOVED_BY, 0)
        self.top = 0

    def add(self, lists: Lists) -> None:
        """The next rows of the search order."""
        rows, lengths = (
            self.order[self.top : self.top + len(lists.indices)],
            (lists.indices >= 0).sum(axis=1),
        )
        depth = self.filters.depth(self.top_k)
        stop = depth if self.filters.range_max is None else min(self.filters.range_max, depth)
        window = slice(self.filters.range_min, min(stop, lists.indices.shape[1]))
        width = max(0, window.stop - window.start)
        self.indices[rows, :width], self.scores[rows, :width] = (
            lists.indices[:, window],
            lists.scores[:, window],
        )
        listed = int((lists.indices[:, window] >= 0).sum())
        self.kept += listed
        self.removed["range"] += int(lengths.sum()) - listed
        for reason, total in enumerate(lists.removed.sum(axis=0)):
            if reason != kernel.KEPT:
                name = REMOVED_BY[reason - 1]  # the kernel knows a first and a second modality
                self.removed[name.replace("image", "text") if self.method == "text" else name] += (
                    int(total)
                )
        self.removed["min_score"] += self._ended_by_min_score(lengths, lists.removed)
        self.top += len(rows)

    def _ended_by_min_score(self, lengths: np.ndarray, removed: np.ndarray) -> int:
        """Lists that are short although they did not run out of partners, where ``min_score`` is what bounds the search."""
        least = self.filters.min_score
        if least is None or not 0 < least == self.filters.limits(self.method)[kernel.LEAST]:
            return 0
        others = self.pool - (np.arange(self.top, self.top + len(lengths)) < self.pool)
        wanted = min(self.filters.depth(self.top_k), self.pool)
        return int(((lengths < wanted) & (lengths + removed.sum(axis=1) < others)).sum())

    def found(self) -> Found:
        return Found(self.indices, self.scores, self.kept, self.removed)
