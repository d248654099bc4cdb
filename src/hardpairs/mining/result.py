"""Results of a search, assembled from lists in search order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from hardpairs.core.progress import Progress
from hardpairs.data.npy_files import row_blocks
from hardpairs.data.stacked import leave_to_disk
from hardpairs.mining.engine.kernel import KEPT, Decided
from hardpairs.mining.options import LEAST, REMOVED_BY, MiningOptions
from hardpairs.mining.recall import ExactLists, Recall

ROWS_AT_ONCE = 128
"""Rows that are written together: each may bring 64 kB of its own of each mapped file to memory."""
Lists = tuple[Decided, np.ndarray, np.ndarray]
"""What ``ResultBuilder.add`` takes."""


@dataclass(frozen=True)
class DatasetRows:
    """Rows of a data set that are searched.

    Attributes:
        numbers: (M,) int64 their row numbers.
        count: Rows of the data set. Those that are not searched get empty lists.
    """

    numbers: np.ndarray
    count: int

    @classmethod
    def all(cls, count: int) -> DatasetRows:
        """Return all rows of a data set."""
        return cls(np.arange(count), count)

    def named(self, listed: np.ndarray) -> np.ndarray:
        """Return the row numbers of searched rows, of any shape; -1 stays."""
        return np.where(listed >= 0, self.numbers[listed], -1)


@dataclass(frozen=True)
class MiningResult:
    """Hard pairs, and how many pairs each filter removed on the way to them.

    Attributes:
        indices: (N, K) row numbers, hardest first, padded with -1: int64 in memory, or int32 mapped
            from a file of the search's progress.
        scores: (N, K) float32, padded with 0; likewise.
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

    def without_noise(self, options: MiningOptions) -> MiningResult:
        """Apply HELIP's noise rule (section 3.2) to the arrays and return the result.

        A row with a zero score among its first K is an outlier, and its list is emptied.
        """
        width = options.top_k
        if options.range_max is not None:
            width = min(width, options.range_max - options.range_min)
        removed = 0
        for _, (indices, scores) in row_blocks(self.indices, self.scores):
            noise = indices[:, width - 1] < 0
            removed += int((indices[noise] >= 0).sum())
            indices[noise], scores[noise] = -1, 0
        counts = {**self.removed, "noise_rule": removed}
        return dataclasses.replace(self, kept=self.kept - removed, removed=counts)


def add_each(found: Iterable[Lists], add: Callable[..., None]) -> None:
    """Add lists as they come. None of them stays in memory while the next ones are searched.

    Args:
        found: The lists of some rows after the other.
        add: Such as ``ResultBuilder.add``.
    """
    for lists in found:
        add(*lists)
        del lists


class ResultBuilder:
    """Collects final lists into a result by row number.

    Args:
        rows: The rows that are searched.
        options: The options of the search.
        progress: Where the result is in mapped files, made anew; without it, it is in memory.
        name: Start of the files' names.
    """

    def __init__(
        self,
        rows: DatasetRows,
        options: MiningOptions,
        progress: Progress | None = None,
        name: str = "result",
    ) -> None:
        self.rows, self.options = rows, options
        shape = (rows.count, options.top_k)
        if progress is None:
            self.indices = np.full(shape, -1, np.int64)
            self.scores = np.zeros(shape, np.float32)
        else:
            self.indices = progress.create_filled_map(f"{name}_indices", shape, np.int32, -1)
            self.scores = progress.create_filled_map(f"{name}_scores", shape, np.float32, 0)
        self.memory = self.indices.nbytes + self.scores.nbytes if progress is None else 0
        self.kept, self.removed = 0, dict.fromkeys(REMOVED_BY, 0)

    def add(self, decided: Decided, rows: np.ndarray, others: np.ndarray) -> None:
        """Add lists.

        Args:
            decided: The lists of R rows.
            rows: (R,) positions of these among the rows that are searched.
            others: (R,) int64, how many candidates each row was compared with, itself aside.
        """
        in_order = np.argsort(rows)  # as in the files
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = in_order[start : start + ROWS_AT_ONCE]
            self._add(Decided(*(array[part] for array in decided)), rows[part], others[part])
            leave_to_disk(self.indices)
            leave_to_disk(self.scores)

    def _add(self, decided: Decided, rows: np.ndarray, others: np.ndarray) -> None:
        lengths = (decided.indices >= 0).sum(axis=1)
        listed = decided.indices[:, self.options.listed]
        numbers, width = self.rows.numbers[rows], listed.shape[1]
        self.indices[numbers, :width] = self.rows.named(listed)
        self.scores[numbers, :width] = decided.scores[:, self.options.listed]
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
            named = dataclasses.replace(
                sample,
                rows=self.rows.numbers[sample.rows],
                indices=self.rows.named(sample.indices),
            )
            recall = named.recall(self.indices, self.scores, self.options.listed)
        return MiningResult(self.indices, self.scores, self.kept, self.removed, recall)
