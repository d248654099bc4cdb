"""Which rows go into which batch: pure functions of (rows, table, seed, epoch, batch number), and thin classes around them.

The unit is the *global batch*, computed whole on every rank and then cut into ranks, so that it does not depend on how many ranks
share it. Nothing is carried from one batch to the next: any batch can be asked for at any time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from formats.errors import usage
from formats.hard_pairs import HardPairTable

RESERVE_SHARE = 1 / 8
"""Reserve rows per row of a batch: stand-ins for images that cannot be read."""

ANCHOR, MINED, RANDOM, RESERVE = range(4)
"""Roles of a row in a batch: target; partner from its target's list; random partner; stand-in for an unreadable row."""


@dataclass(frozen=True)
class BatchPlan:
    """One rank's batch.

    Attributes:
        rows: (B,) int64 row numbers: target, its partners, next target...
        roles: (B,) uint8: ANCHOR, MINED or RANDOM.
        reserves: int64 rows outside the global batch, no two ranks' the same.
        progress: epochs of the run that passed before it; a sampler does not know.
    """

    rows: np.ndarray
    roles: np.ndarray
    reserves: np.ndarray
    progress: float = 0.0


def epoch_targets(allowed: np.ndarray, seed: int, epoch: int, batch_targets: int) -> np.ndarray:
    """The targets of an epoch, shared by all ranks: a seeded permutation of ``allowed``, topped up from its own start to whole batches.

    Returns:
        (batches * batch_targets,) int64.
    """
    order = np.random.default_rng([seed, epoch]).permutation(allowed)
    return np.resize(order, -(-len(order) // batch_targets) * batch_targets)


def choose_partners(targets: np.ndarray, lists: np.ndarray, lengths: np.ndarray, per_target: int, rng: np.random.Generator) -> np.ndarray:
    """Draws partners from the targets' lists, no row twice in the batch.

    Each target walks its list in a random order of its own and claims one free row a round; of several claims on one row the first
    target's wins, the others claim their next in the following round. Every row of a list is equally likely, as in HELIP.

    Args:
        targets: (T,) distinct rows. lists: (T, K) candidate rows; the first ``lengths[t]`` of row t are real.

    Returns:
        (T, per_target) int64; -1 where a list was used up.
    """
    count, width = lists.shape
    order = np.where(np.arange(width) < lengths[:, None], rng.random((count, width)), np.inf).argsort(axis=1)
    walk = np.where(np.take_along_axis(np.arange(width) < lengths[:, None], order, 1), np.take_along_axis(lists, order, 1), -1)
    partners = np.full((count, per_target), -1, np.int64)
    taken = np.sort(targets)
    for slot in range(per_target):
        waiting = np.arange(count)
        while len(waiting):
            free = (walk[waiting] >= 0) & ~_is_in(walk[waiting], taken)
            waiting, free = waiting[free.any(axis=1)], free[free.any(axis=1)]
            claims = walk[waiting, free.argmax(axis=1)]
            rows, winners = np.unique(claims, return_index=True)
            partners[waiting[winners], slot] = rows
            taken = np.sort(np.concatenate([taken, rows]))
            waiting = np.delete(waiting, winners)
    return partners


def _is_in(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    place = np.searchsorted(ordered, values)
    return ordered[np.minimum(place, len(ordered) - 1)] == values


def draw_outside(allowed: np.ndarray, used: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` distinct rows of ``allowed`` that are not in ``used``, in random order (fewer when there are no more)."""
    draw = rng.choice(allowed, size=min(len(allowed), 2 * (len(used) + count)), replace=False, shuffle=True)
    return draw[~_is_in(draw, np.sort(used))][:count] if len(used) else draw[:count]


class BatchSampler(ABC):
    """Batches by number. A maker of batches says how a global batch is put together; this class does the rest.

    Args:
        num_samples: N, rows of the dataset.
        batch_size: rows per rank and micro-batch.
        accumulate: micro-batches per optimizer step (``--accum-freq``); the laws hold over all of them together.
        exclude: rows that are in no batch.

    Raises:
        UserError: exit 2 when the sizes do not fit together.
    """

    def __init__(
        self,
        num_samples: int,
        *,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
        exclude: np.ndarray | None = None,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not in a world of {world_size}")
        self.num_samples, self.batch_size, self.seed = num_samples, batch_size, seed
        self.rank, self.world_size, self.accumulate = rank, world_size, accumulate
        self.global_batch_size = batch_size * world_size * accumulate
        self.allowed = np.setdiff1d(np.arange(num_samples), [] if exclude is None else exclude)
        self.epoch = 0
        if len(self.allowed) < self.global_batch_size or len(self.targets_allowed()) < self._batch_targets:
            raise usage(
                f"{len(self.targets_allowed())} usable rows are fewer than one global batch of {self.global_batch_size}",
                where=f"--batch-size {batch_size} x {world_size} processes x --accum-freq {accumulate}",
                fix=f"--batch-size {max(len(self.allowed) // (world_size * accumulate), 1)} or smaller",
            )
        self.reserves_per_rank = min(max(1, int(batch_size * RESERVE_SHARE)), (len(self.allowed) - self.global_batch_size) // world_size)
        self._global_plan = lru_cache(maxsize=2)(self._make_global_plan)  # the micro-batches of a step ask for the same one

    @property
    def group_size(self) -> int:
        """Rows that belong together: a target and its partners."""
        return 1

    @abstractmethod
    def compose(self, targets: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(rows, roles) of a global batch around its targets; see ``BatchPlan``."""

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        """Micro-batches per rank and epoch."""
        return -(-len(self.targets_allowed()) // self._batch_targets) * self.accumulate

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.batch(number) for number in range(len(self)))

    def batch(self, number: int) -> np.ndarray:
        """Row numbers of this rank's micro-batch ``number``: (batch_size,) int64."""
        return self.plan(number).rows

    def plan(self, number: int, epoch: int | None = None) -> BatchPlan:
        """This rank's micro-batch ``number`` of an epoch (default: the current one)."""
        step, micro = divmod(number, self.accumulate)
        rows, roles, reserves = self._global_plan(step, self.epoch if epoch is None else epoch)
        mine = micro * self.world_size + self.rank
        share = slice(mine * self.batch_size, (mine + 1) * self.batch_size)
        spare = slice(self.rank * self.reserves_per_rank, (self.rank + 1) * self.reserves_per_rank)
        return BatchPlan(rows[share], roles[share], reserves[spare])

    def targets_allowed(self) -> np.ndarray:
        """Rows that are targets once per epoch."""
        return self.allowed

    @property
    def _batch_targets(self) -> int:
        return self.global_batch_size // self.group_size

    def _make_global_plan(self, step: int, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        targets = self._targets_of(epoch)[step * self._batch_targets : (step + 1) * self._batch_targets]
        if len(targets) < self._batch_targets:
            raise IndexError(f"batch {step} of an epoch of {len(self) // self.accumulate}")
        rng = np.random.default_rng([self.seed, epoch, step])
        rows, roles = self.compose(targets, rng)
        return rows, roles, draw_outside(self.allowed, rows, self.reserves_per_rank * self.world_size, rng)

    def _targets_of(self, epoch: int) -> np.ndarray:
        if getattr(self, "_cached_epoch", None) != epoch:
            self._cached_epoch, self._cached_targets = epoch, epoch_targets(self.targets_allowed(), self.seed, epoch, self._batch_targets)
        return self._cached_targets


class RandomBatchSampler(BatchSampler):
    """Plain batches: every row once per epoch, in a random order."""

    def compose(self, targets: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return targets, np.full(len(targets), ANCHOR, np.uint8)


class HardPairBatchSampler(BatchSampler):
    """Targets, each followed by partners drawn from its hard pairs (HELIP, arXiv 2305.05208, section 3.3).

    Args:
        table: hard pairs of the N rows.
        hard_per_target: p, partners of a target; a batch holds ``batch_size / (1 + p)`` targets.
        hard_topk: K, how deep into a target's list partners are drawn.
        empty_rows: what a target without hard pairs gets: a ``random`` partner, or it is left out (``skip``, the paper's noise rule).
    """

    def __init__(
        self,
        num_samples: int,
        table: HardPairTable,
        *,
        batch_size: int,
        hard_per_target: int = 1,
        hard_topk: int = 50,
        empty_rows: str = "random",
        **base,
    ) -> None:
        if len(table.lengths) != num_samples:
            raise ValueError(f"the table has {len(table.lengths)} rows, the data {num_samples}")
        if hard_per_target < 1 or hard_topk < 1:
            raise usage(f"--hard-per-target and --hard-topk must be at least 1, not {hard_per_target} and {hard_topk}")
        if batch_size % (1 + hard_per_target):
            lower = batch_size // (1 + hard_per_target) * (1 + hard_per_target)
            raise usage(
                f"--batch-size {batch_size} does not hold whole groups of a target and {hard_per_target} partners",
                fix=f"--batch-size {lower or 1 + hard_per_target} or {lower + 1 + hard_per_target}",
            )
        self.table, self.hard_per_target, self.hard_topk, self.empty_rows = table, hard_per_target, hard_topk, empty_rows
        super().__init__(num_samples, batch_size=batch_size, **base)

    @property
    def group_size(self) -> int:
        return 1 + self.hard_per_target

    def targets_allowed(self) -> np.ndarray:
        if self.empty_rows == "random":
            return self.allowed
        return self.allowed[np.asarray(self.table.lengths)[self.allowed] > 0]

    def compose(self, targets: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        lists = np.asarray(self.table.indices[targets, : self.hard_topk], np.int64)
        lengths = np.minimum(self.table.lengths[targets], lists.shape[1])
        allowed = _is_in(lists, self.allowed)
        lists = np.where(allowed, lists, -1)
        partners = choose_partners(targets, lists, lengths, self.hard_per_target, rng)
        gaps = partners < 0
        used = np.concatenate([targets, partners[~gaps]])
        partners[gaps] = draw_outside(self.allowed, used, int(gaps.sum()), rng)
        rows = np.concatenate([targets[:, None], partners], axis=1)
        roles = np.concatenate([np.full((len(targets), 1), ANCHOR), np.where(gaps, RANDOM, MINED)], axis=1)
        return rows.ravel(), roles.ravel().astype(np.uint8)
