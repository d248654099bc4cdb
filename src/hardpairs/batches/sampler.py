"""Batches by number: what all makers of batches share.

The unit is the *global batch*, computed whole on every rank and then cut into ranks, so that it does not depend on how many ranks
share it. Nothing is carried from one batch to the next: any batch can be asked for at any time.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from hardpairs.batches.info import BatchInfo
from hardpairs.batches.rows import RowSet
from hardpairs.batches.shuffle import shuffle_keys, shuffled
from hardpairs.core.errors import usage
from hardpairs.data.hard_pairs import HardPairTable

SPARE_SHARE = 1 / 8
"""Spares per row of a batch; they replace rows whose images are unreadable."""


class BatchSampler(ABC):
    """A maker of batches says what a global batch holds; this class does the rest.

    Args:
        num_samples: N, rows of the dataset.
        batch_size: rows per rank and micro-batch.
        accumulate: micro-batches per optimizer step (``--accum-freq``); the laws hold over all of them together.
        exclude: rows that are in no batch.

    Raises:
        UserError: exit 2 when the sizes do not fit together.
    """

    table: HardPairTable | None = None
    """The hard pairs that the batches follow from, where they do."""

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
        if batch_size < 1:
            raise usage(f"--batch-size must be at least 1, not {batch_size}")
        self.num_samples, self.batch_size, self.seed = num_samples, batch_size, seed
        self.rank, self.world_size, self.accumulate = rank, world_size, accumulate
        self.global_batch_size = batch_size * world_size * accumulate
        self.rows = RowSet(num_samples, exclude)
        self.epoch = 0
        usable = min(
            len(self.rows), self.num_targets * self.global_batch_size // self.targets_per_batch
        )
        if usable < self.global_batch_size:
            targets = (
                f", {self.num_targets} of them targets,"
                if self.num_targets < len(self.rows)
                else ""
            )
            raise usage(
                f"{len(self.rows)} usable rows{targets} are fewer than one global batch of {self.global_batch_size}",
                where=f"--batch-size {batch_size} x {world_size} processes x --accum-freq {accumulate}",
                fix=f"--batch-size {max(usable // (world_size * accumulate) // self.group_size, 1) * self.group_size} or smaller",
            )
        self.spares_per_rank = min(
            max(1, int(batch_size * SPARE_SHARE)),
            (len(self.rows) - self.global_batch_size) // (world_size * accumulate),
        )
        self._global_plan = lru_cache(maxsize=2)(
            self._make_global_plan
        )  # the micro-batches of a step ask for the same one

    @abstractmethod
    def global_batch(
        self, step: int, epoch: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """(rows, roles) of a global batch; see ``BatchInfo``. ``rng`` is the batch's own."""

    @property
    def group_size(self) -> int:
        """Rows that belong together and are not cut apart: a target and its partners, the images of a class."""
        return 1

    @property
    def num_targets(self) -> int:
        """How many rows are targets once per epoch."""
        return len(self.rows)

    @property
    def targets_per_batch(self) -> int:
        """Places for targets in a global batch."""
        return self.global_batch_size

    @property
    def steps(self) -> int:
        """Global batches per epoch."""
        return -(-self.num_targets // self.targets_per_batch)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        """Micro-batches per rank and epoch."""
        return self.steps * self.accumulate

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.batch(number) for number in range(len(self)))

    def batch(self, number: int) -> np.ndarray:
        """Row numbers of this rank's micro-batch ``number``: (batch_size,) int64."""
        return self.plan(number).rows

    def plan(self, number: int, epoch: int | None = None) -> BatchInfo:
        """This rank's micro-batch ``number`` of an epoch (default: the current one)."""
        step, micro = divmod(number, self.accumulate)
        rows, roles, spares = self._global_plan(step, self.epoch if epoch is None else epoch)
        mine = micro * self.world_size + self.rank
        share = slice(mine * self.batch_size, (mine + 1) * self.batch_size)
        own = slice(mine * self.spares_per_rank, (mine + 1) * self.spares_per_rank)
        return BatchInfo.planned(rows[share], roles[share], spares[own])

    def digest(self) -> str:
        """Hex sha256 of the first and the last global batch of epoch 0: ranks that would not train on one epoch differ in it."""
        plans = [self._make_global_plan(step, 0) for step in (0, self.steps - 1)]
        return hashlib.sha256(
            b"".join(array.tobytes() for plan in plans for array in plan)
        ).hexdigest()

    def _make_global_plan(self, step: int, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if not 0 <= step < self.steps:
            raise IndexError(f"batch {step} of an epoch of {self.steps}")
        rng = np.random.default_rng([self.seed, epoch, step])
        rows, roles = self.global_batch(step, epoch, rng)
        return (
            rows,
            roles,
            self.rows.draw_outside(
                rows, self.spares_per_rank * self.world_size * self.accumulate, rng
            ),
        )


def targets_of_step(rows: RowSet, step: int, count: int, seed: int, epoch: int) -> np.ndarray:
    """``count`` targets of a global batch: the next ones of the epoch's shuffle of ``rows``, shared by all ranks.

    The last batch is topped up from the start of the same shuffle.
    """
    places = (np.arange(count) + step * count) % len(rows)
    return rows.at(shuffled(places, len(rows), shuffle_keys(seed, epoch)))
