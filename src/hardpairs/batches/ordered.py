"""Base of batch makers that put a whole epoch in order at once, and cut it into batches."""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from typing import Any

import numpy as np

from hardpairs.batches.base import BatchSampler
from hardpairs.batches.info import RANDOM, TARGET


class OrderedBatchSampler(BatchSampler):
    """Batches cut from an order of the epoch.

    The order is made at the epoch's first batch, and kept until another epoch is asked for (4 bytes
    per row). Positions that the order leaves empty, and rows that would be twice in a batch, get
    random rows from outside the batch.

    Args:
        num_samples: N, rows of the data set.
        **sizes: As in ``BatchSampler``.
    """

    def __init__(self, num_samples: int, **sizes: Any) -> None:
        super().__init__(num_samples, **sizes)
        self._order = lru_cache(maxsize=1)(self._make_order)

    @abstractmethod
    def epoch_order(self, rng: np.random.Generator) -> np.ndarray:
        """Return the epoch's rows, batch after batch; -1 for an empty position.

        Args:
            rng: The epoch's own generator.

        Returns:
            (steps * global_batch_size,) whole numbers.
        """

    def global_batch(
        self, step: int, epoch: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the batch's part of the epoch's order."""
        size = self.global_batch_size
        rows = self._order(epoch)[step * size : (step + 1) * size].astype(np.int64)
        empty = repeated(rows) | (rows < 0)
        rows[empty] = self.rows.draw_outside(rows[~empty], int(empty.sum()), rng)
        return rows, np.where(empty, RANDOM, TARGET).astype(np.uint8)

    def _make_order(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, epoch], spawn_key=(2,)))
        return self.epoch_order(rng).astype(np.int32, copy=False)


def repeated(rows: np.ndarray) -> np.ndarray:
    """Return where a row stands that stood before: bool.

    Example:
        >>> repeated(np.array([3, 1, 3]))
        array([False, False,  True])
    """
    again = np.ones(len(rows), bool)
    again[np.unique(rows, return_index=True)[1]] = False
    return again


def dealt(items: np.ndarray, piles: int, size: int) -> np.ndarray:
    """Deal items, or rows of items, like cards: item i to pile i mod ``piles``.

    Neighbors come to different piles.

    Args:
        items: (n, ...), n at most ``piles * size``.
        piles: Number of piles.
        size: Items of a pile.

    Returns:
        (piles, size, ...) with -1 in the empty positions.
    """
    grid = np.full((size * piles, *items.shape[1:]), -1, items.dtype)
    grid[: len(items)] = items
    return grid.reshape(size, piles, *items.shape[1:]).swapaxes(0, 1)


def sorted_by(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return positions 0..n-1 with equal labels together.

    Labels, and positions of one label, are in random order.

    Args:
        labels: (n,) small whole numbers from 0, as of ``compact``.
        rng: The epoch's generator.

    Returns:
        (n,) int32.
    """
    order = rng.permutation(np.arange(len(labels), dtype=np.int32))
    shuffled = rng.permutation(np.arange(labels.max(initial=-1) + 1, dtype=np.int32))
    return order[np.argsort(shuffled[labels[order]], kind="stable")]


def compact(labels: np.ndarray) -> np.ndarray:
    """Return labels as numbers 0, 1, ... in ascending order: (n,) int32."""
    return np.unique(labels, return_inverse=True)[1].astype(np.int32)
