"""Draw each target's hard pairs from its list, and share the rows among the targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from hardpairs.batches.rows import first_of_each, is_in
from hardpairs.batches.shuffle import mix, shuffle_keys

NO_RANK = np.iinfo(np.int64).max
"""Placeholder of a target that drew no rank. It is above every rank."""


class Draw(Protocol):
    """Ranks of the targets' lists, one after the other, none twice for a target.

    Ranks count from the first one that may be drawn.
    """

    def next(self, targets: np.ndarray) -> np.ndarray:
        """Return the next rank for each of some targets.

        Args:
            targets: Positions of the targets in the batch.

        Returns:
            (len(targets),) int64; -1 where a list is used up.
        """


class WeightedDraw:
    """Draw ranks without replacement, each with a chance proportional to its weight.

    Args:
        weights: (T, K) float64, 0 for ranks that do not exist. Drawing changes the array.
        rng: The batch's generator.
    """

    def __init__(self, weights: np.ndarray, rng: np.random.Generator) -> None:
        self._weights, self._rng = weights, rng

    def next(self, targets: np.ndarray) -> np.ndarray:
        """Return the next rank for each of some targets."""
        ends = self._weights[targets].cumsum(axis=1)
        total = ends[:, -1]
        # The product may round up to the total.
        point = np.minimum(self._rng.random(len(targets)) * total, np.nextafter(total, 0))
        rank = np.asarray((ends <= point[:, None]).sum(axis=1))
        rank[total <= 0] = -1
        drawn = rank >= 0
        self._weights[targets[drawn], rank[drawn]] = 0
        return rank


class UniformDraw:
    """Draw ranks without replacement, all alike.

    This is ``WeightedDraw`` with equal weights, without a table of them.

    Args:
        lengths: (T,) number of ranks of each list.
        rng: The batch's generator.
    """

    def __init__(self, lengths: np.ndarray, rng: np.random.Generator) -> None:
        self._left, self._rng = np.array(lengths, np.int64), rng
        # Ascending in each row.
        self._drawn = np.empty((len(lengths), 0), np.int64)

    def next(self, targets: np.ndarray) -> np.ndarray:
        """Return the next rank for each of some targets."""
        left = self._left[targets]
        # A number among the ranks that are left, which then steps over those drawn before.
        rank = np.minimum((self._rng.random(len(targets)) * left).astype(np.int64), left - 1)
        drawn = self._drawn[targets]
        for column in drawn.T:
            rank += rank >= column
        some = left > 0
        self._left[targets[some]] -= 1
        drawn = np.concatenate([drawn, np.where(some, rank, NO_RANK)[:, None]], axis=1)
        nothing = np.full((len(self._left), 1), NO_RANK)
        self._drawn = np.concatenate([self._drawn, nothing], axis=1)
        self._drawn[targets] = np.sort(drawn, axis=1) if drawn.shape[1] > 1 else drawn
        return np.where(some, rank, -1)


class CycleDraw:
    """Go through each target's list in an order of its own, on from where the last epoch stopped.

    L / p epochs see all L ranks once. A row that is in the batch already is passed over, and comes
    again one cycle later.

    Args:
        rows: (T,) row numbers of the targets.
        lengths: (T,) number of ranks of each list.
        depth: Largest number of ranks.
        start: Number of ranks that each target has used in earlier epochs.
        seed: Seed of the orders.
    """

    def __init__(
        self, rows: np.ndarray, lengths: np.ndarray, depth: int, start: int, seed: int
    ) -> None:
        ranks = np.arange(depth, dtype=np.uint64)
        keys = mix(mix(rows.astype(np.uint64)[:, None] ^ shuffle_keys(seed)[0]) ^ ranks)
        keys[ranks >= lengths[:, None]] = np.iinfo(np.uint64).max
        self._order = keys.argsort(axis=1)
        self._lengths, self._start = lengths, start
        self._tried = np.zeros(len(rows), np.int64)

    def next(self, targets: np.ndarray) -> np.ndarray:
        """Return the next rank for each of some targets."""
        lengths, tried = self._lengths[targets], self._tried[targets]
        self._tried[targets] += 1
        rank = self._order[targets, (self._start + tried) % np.maximum(lengths, 1)]
        return np.where(tried < lengths, rank, -1)


def list_weights(
    choice: str, exists: np.ndarray, ranks: np.ndarray, scores: Callable[[], np.ndarray]
) -> np.ndarray:
    """Return the weights by which ranks are drawn.

    Args:
        choice: ``uniform``, ``rank`` (1 / rank, ranks from 1) or ``score``.
        exists: (T, K) bool.
        ranks: (T, K) ranks from 0.
        scores: Returns the (T, K) scores when they are needed.

    Returns:
        (T, K) float64, 0 where a rank does not exist.
    """
    return np.where(exists, WEIGHTS[choice](ranks, scores), 0.0)


WEIGHTS: dict[str, Callable[[np.ndarray, Callable[[], np.ndarray]], np.ndarray | float]] = {
    "uniform": lambda ranks, scores: 1.0,
    "rank": lambda ranks, scores: 1.0 / (ranks + 1),
    "score": lambda ranks, scores: scores(),
}


def choose_hard_pairs(
    targets: np.ndarray,
    draw: Draw,
    row_at: Callable[[np.ndarray, np.ndarray], np.ndarray],
    usable: Callable[[np.ndarray], np.ndarray],
    per_target: int,
) -> np.ndarray:
    """Choose hard pairs of each target, no row twice in the batch.

    Each target draws a rank of its list and claims the row there. The first target wins where
    several claim one row. A target whose row is taken draws again.

    Args:
        targets: (T,) distinct rows.
        draw: Gives ranks.
        row_at: Returns the rows at ranks: (positions of targets, ranks) -> rows.
        usable: Returns which rows can be in a batch at all.
        per_target: Hard pairs of each target.

    Returns:
        (T, per_target) int64; -1 where a list was used up.
    """
    chosen = np.full((len(targets), per_target), -1, np.int64)
    taken = np.sort(targets)
    for column in range(per_target):
        waiting = np.arange(len(targets))
        while len(waiting):
            ranks = draw.next(waiting)
            waiting, ranks = waiting[ranks >= 0], ranks[ranks >= 0]
            rows = np.asarray(row_at(waiting, ranks), np.int64)
            claimed, first = first_of_each(rows)
            free = usable(claimed) & ~is_in(claimed, taken)
            claimed, first = claimed[free], first[free]
            chosen[waiting[first], column] = claimed
            taken = np.sort(np.concatenate([taken, claimed]), kind="stable")  # merges two runs
            waiting = np.delete(waiting, first)
    return chosen
