"""Results of a search, assembled from lists in search order."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from hardpairs.mining.engine.kernel import KEPT, Decided
from hardpairs.mining.options import LEAST, REMOVED_BY, MiningOptions
from hardpairs.mining.recall import ExactLists, Recall


@dataclass(frozen=True)
class MiningResult:
    """Hard pairs, and how many pairs each filter removed on the way to them.

    Attributes:
        indices: (N, K) int64 row numbers, hardest first, padded with -1.
        scores: (N, K) float32, padded with 0.
        kept: Listed pairs.
        removed: For each filter, the candidates that it removed (``hardpairs.mining.options``).
        recall: What an approximate search found on a sample of rows, where that was measured.
        clusters: Clusters of rows that were compared, see ``clusters.Probing.for_manifest``.
    """

    indices: np.ndarray
    scores: np.ndarray
    kept: int
    removed: dict[str, int]
    recall: Recall | None = None
    clusters: dict[str, float] | None = None

    @property
    def counts(self) -> dict[str, int | dict[str, int]]:
        """Return the numbers of candidates, kept and removed pairs, for a manifest."""
        candidates = self.kept + sum(self.removed.values())
        return {"candidates": candidates, "kept": self.kept, "removed": self.removed}

    def for_dataset(self, rows: np.ndarray, count: int) -> MiningResult:
        """Return the result for all rows of a data set of which some were searched.

        Args:
            rows: (N,) int64 rows of the data set that were searched.
            count: Rows of the data set. Those that were not searched have empty lists.
        """
        width = self.indices.shape[1]
        indices, scores = (
            np.full((count, width), -1, np.int64),
            np.zeros((count, width), np.float32),
        )
        indices[rows] = np.where(self.indices >= 0, rows[self.indices], -1)
        scores[rows] = self.scores
        return dataclasses.replace(self, indices=indices, scores=scores)

    def without_noise(self, options: MiningOptions) -> MiningResult:
        """Apply HELIP's noise rule (section 3.2) to the arrays and return the result.

        A row with a zero score among its first K is an outlier, and its list is emptied.
        """
        width = options.top_k
        if options.range_max is not None:
            width = min(width, options.range_max - options.range_min)
        noise = self.indices[:, width - 1] < 0
        removed = int((self.indices[noise] >= 0).sum())
        self.indices[noise], self.scores[noise] = -1, 0
        counts = {**self.removed, "noise_rule": removed}
        return dataclasses.replace(self, kept=self.kept - removed, removed=counts)


class ResultBuilder:
    """Collects final lists into a result by row number.

    Args:
        count: N rows of the result.
        options: The options of the search.
    """

    def __init__(self, count: int, options: MiningOptions) -> None:
        self.options = options
        self.indices = np.full((count, options.top_k), -1, np.int64)
        self.scores = np.zeros((count, options.top_k), np.float32)
        self.kept, self.removed = 0, dict.fromkeys(REMOVED_BY, 0)

    def add(self, decided: Decided, rows: np.ndarray, others: np.ndarray) -> None:
        """Add lists.

        Args:
            decided: The lists of R rows.
            rows: (R,) row numbers.
            others: (R,) int64, how many candidates each row was compared with, itself aside.
        """
        lengths = (decided.indices >= 0).sum(axis=1)
        listed = decided.indices[:, self.options.listed]
        width = listed.shape[1]
        self.indices[rows, :width] = listed
        self.scores[rows, :width] = decided.scores[:, self.options.listed]
        kept = int((listed >= 0).sum())
        self.kept += kept
        self.removed["range"] += int(lengths.sum()) - kept
        for reason, total in enumerate(decided.removed.sum(axis=0)):
            if reason != KEPT:
                name = REMOVED_BY[reason - 1]
                if self.options.method == "text":  # the kernel's first modality is the text then
                    name = name.replace("image", "text")
                self.removed[name] += int(total)
        self.removed["min_score"] += self._ended_by_min_score(lengths, decided.removed, others)

    def _ended_by_min_score(
        self, lengths: np.ndarray, removed: np.ndarray, others: np.ndarray
    ) -> int:
        """Count short lists that had candidates left, where ``min_score`` bounds the search."""
        least = self.options.min_score
        if least is None or not 0 < least == self.options.limits()[LEAST]:
            return 0
        short = lengths < np.minimum(self.options.depth, others + 1)
        return int((short & (lengths + removed.sum(axis=1) < others)).sum())

    def result(self, sample: ExactLists | None = None) -> MiningResult:
        """Return the result of all rows added so far, with its recall on an exact sample."""
        recall = None
        if sample is not None:
            recall = sample.recall(self.indices, self.scores, self.options.listed)
        return MiningResult(self.indices, self.scores, self.kept, self.removed, recall)
