"""Makers that put a whole epoch in order at once, and cut it into batches."""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache

import numpy as np

from hardpairs.batches.info import RANDOM, TARGET
from hardpairs.batches.sampler import BatchSampler


class OrderedBatchSampler(BatchSampler):
    """Batches cut from an order of the epoch: made at its first batch, kept until another epoch is asked for (4 bytes per row).

    Places that the order leaves empty, and rows that would stand twice in a batch, get random rows from outside the batch, counted.
    """

    def __init__(self, num_samples: int, **base) -> None:
        super().__init__(num_samples, **base)
        self._order = lru_cache(maxsize=1)(self._make_order)

    @abstractmethod
    def epoch_order(self, rng: np.random.Generator) -> np.ndarray:
        """The epoch's rows, batch after batch; -1 for empty places: (steps * global_batch_size,) whole numbers."""

    def global_batch(
        self, step: int, epoch: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        size = self.global_batch_size
        rows = self._order(epoch)[step * size : (step + 1) * size].astype(np.int64)
        empty = np.ones(size, bool)
        empty[np.unique(rows, return_index=True)[1]] = False  # the first place of each row
        empty |= rows < 0
        rows[empty] = self.rows.draw_outside(rows[~empty], int(empty.sum()), rng)
        return rows, np.where(empty, RANDOM, TARGET).astype(np.uint8)

    def _make_order(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, epoch], spawn_key=(2,)))
        return self.epoch_order(rng).astype(np.int32, copy=False)


def padded(rows: np.ndarray, size: int) -> np.ndarray:
    """``rows`` with empty places (-1) behind, up to a multiple of ``size``."""
    return np.concatenate([rows, np.full(-len(rows) % size, -1, rows.dtype)])


def dealt(items: np.ndarray, piles: int, size: int) -> np.ndarray:
    """Deals items, or rows of items, like cards: item i to pile i mod ``piles``; neighbours come to different piles.

    Returns:
        (piles, size, ...) with -1 in the empty places.
    """
    grid = np.full((size * piles, *items.shape[1:]), -1, items.dtype)
    grid[: len(items)] = items
    return grid.reshape(size, piles, *items.shape[1:]).swapaxes(0, 1)


def sorted_by(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Places 0..n-1 with equal labels together: labels in random order, places of one label in random order.

    Args:
        labels: (n,) small whole numbers from 0 (``compact``).

    Returns:
        (n,) int32.
    """
    order = rng.permutation(np.arange(len(labels), dtype=np.int32))
    shuffled = rng.permutation(np.arange(labels.max(initial=-1) + 1, dtype=np.int32))
    return order[np.argsort(shuffled[labels[order]], kind="stable")]


def compact(labels: np.ndarray) -> np.ndarray:
    """Labels as numbers 0, 1, ... in ascending order: (n,) int32."""
    return np.unique(labels, return_inverse=True)[1].astype(np.int32)
