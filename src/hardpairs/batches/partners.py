"""Which of its hard pairs a target gets: draws from each target's list, and how several targets share the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from hardpairs.batches.rows import is_in
from hardpairs.batches.shuffle import mix, shuffle_keys


class Draw(Protocol):
    """Places in the targets' lists, one after the other, none twice for a target."""

    def next(self, targets: np.ndarray) -> np.ndarray:
        """The next place for each of some targets (by position in the batch), -1 where a list is used up: (len(targets),) int64."""


class WeightedDraw:
    """Draws places without replacement, each with a chance proportional to its weight among those left.

    Args:
        weights: (T, K) float64, 0 for places that do not exist. Used up by drawing.
    """

    def __init__(self, weights: np.ndarray, rng: np.random.Generator) -> None:
        self._weights, self._rng = weights, rng

    def next(self, targets: np.ndarray) -> np.ndarray:
        ends = self._weights[targets].cumsum(axis=1)
        total = ends[:, -1]
        point = np.minimum(
            self._rng.random(len(targets)) * total, np.nextafter(total, 0)
        )  # a product may round up to the total
        place = (ends <= point[:, None]).sum(axis=1)
        place[total <= 0] = -1
        drawn = place >= 0
        self._weights[targets[drawn], place[drawn]] = 0
        return place


class UniformDraw:
    """Draws places without replacement, all of a list alike: what ``WeightedDraw`` does with equal weights, without a table of them.

    Args:
        lengths: (T,) places of the lists.
    """

    def __init__(self, lengths: np.ndarray, rng: np.random.Generator) -> None:
        self._left, self._rng = np.array(lengths, np.int64), rng
        self._drawn = np.empty(
            (len(lengths), 0), np.int64
        )  # ascending in each row; places of rows that drew nothing are out of the way

    def next(self, targets: np.ndarray) -> np.ndarray:
        left = self._left[targets]
        place = np.minimum(
            (self._rng.random(len(targets)) * left).astype(np.int64), left - 1
        )  # among those that are left
        for drawn in self._drawn[targets].T:
            place += place >= drawn
        some = left > 0
        self._left[targets[some]] -= 1
        column = np.full((len(self._left), 1), np.iinfo(np.int64).max)
        column[targets[some], 0] = place[some]
        self._drawn = np.sort(np.concatenate([self._drawn, column], axis=1), axis=1)
        return np.where(some, place, -1)


class CycleDraw:
    """Each target goes through its list in an order of its own, on from where it stood an epoch ago: L / p epochs see all L once.

    A row that is in the batch already is passed over; it comes round again a cycle later.

    Args:
        rows: (T,) row numbers of the targets. lengths: (T,) places of their lists.
        start: places that each target has used in earlier epochs.
    """

    def __init__(
        self, rows: np.ndarray, lengths: np.ndarray, depth: int, start: int, seed: int
    ) -> None:
        places = np.arange(depth, dtype=np.uint64)
        keys = mix(mix(rows.astype(np.uint64)[:, None] ^ shuffle_keys(seed)[0]) ^ places)
        keys[places >= lengths[:, None]] = np.iinfo(np.uint64).max
        self._order = keys.argsort(axis=1)
        self._lengths, self._start = lengths, start
        self._tried = np.zeros(len(rows), np.int64)

    def next(self, targets: np.ndarray) -> np.ndarray:
        lengths, tried = self._lengths[targets], self._tried[targets]
        self._tried[targets] += 1
        place = self._order[targets, (self._start + tried) % np.maximum(lengths, 1)]
        return np.where(tried < lengths, place, -1)


def list_weights(
    choice: str, exists: np.ndarray, ranks: np.ndarray, scores: Callable[[], np.ndarray]
) -> np.ndarray:
    """Weights of the places of lists: (T, K) float64, 0 where ``exists`` is not.

    Args:
        choice: ``uniform`` (HELIP), ``rank`` (1 / rank, ranks from 1) or ``score``.
        ranks: (T, K) ranks from 0. scores: gives the (T, K) scores when they are asked for.
    """
    return np.where(exists, WEIGHTS[choice](ranks, scores), 0.0)


WEIGHTS: dict[str, Callable[[np.ndarray, Callable[[], np.ndarray]], np.ndarray | float]] = {
    "uniform": lambda ranks, scores: 1.0,
    "rank": lambda ranks, scores: 1.0 / (ranks + 1),
    "score": lambda ranks, scores: scores(),
}


def choose_partners(
    targets: np.ndarray,
    draw: Draw,
    row_at: Callable[[np.ndarray, np.ndarray], np.ndarray],
    usable: Callable[[np.ndarray], np.ndarray],
    per_target: int,
) -> np.ndarray:
    """Partners of each target, no row twice in the batch.

    Each target draws a place of its list and claims the row there; of several claims on one row the first target's wins. Those whose
    row is taken draw again.

    Args:
        targets: (T,) distinct rows.
        row_at: gives the rows at places: (positions of targets, places) -> rows.
        usable: which rows may be in a batch at all.

    Returns:
        (T, per_target) int64; -1 where a list was used up.
    """
    partners = np.full((len(targets), per_target), -1, np.int64)
    taken = np.sort(targets)
    for slot in range(per_target):
        waiting = np.arange(len(targets))
        while len(waiting):
            places = draw.next(waiting)
            waiting, places = waiting[places >= 0], places[places >= 0]
            rows = np.asarray(row_at(waiting, places), np.int64)
            free = np.flatnonzero(usable(rows) & ~is_in(rows, taken))
            claimed, first = np.unique(rows[free], return_index=True)
            partners[waiting[free[first]], slot] = claimed
            taken = np.sort(np.concatenate([taken, claimed]))
            waiting = np.delete(waiting, free[first])
    return partners
