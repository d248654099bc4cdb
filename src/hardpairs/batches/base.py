"""The base of all batch makers: batches by number, cut from global batches.

A global batch holds the rows of one optimizer step, of all ranks and micro-batches. Every rank
computes it whole and takes its share, so that it does not depend on the number of ranks. No state
is carried from one batch to the next: any batch can be computed at any time.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hardpairs.batches.info import BatchInfo
from hardpairs.batches.rows import RowSet
from hardpairs.batches.shuffle import shuffle_keys, shuffled
from hardpairs.core.components import Options
from hardpairs.core.errors import usage
from hardpairs.data.hard_pairs import HardPairTable

if TYPE_CHECKING:
    from hardpairs.data.samples import Samples

SPARE_SHARE = 1 / 8
"""Spares per row of a batch."""


@dataclass(frozen=True)
class BatchContext:
    """The facts of a run that a batch maker needs beside its own options.

    Attributes:
        samples: The training data. Its rejected rows are in no batch.
        batch_size: Rows per rank and micro-batch.
        seed: Seed of the order.
        rank: Number of this process.
        world_size: Number of processes.
        accumulate: Micro-batches per optimizer step.
        embedding: What the loss compares: ``image``, ``text``, ``pooled`` or ``mlp``; ``None`` for
            losses of image-text pairs.
        image_weight: Weight of the image in a pooled embedding.
        verify: Whether to check the files that the batches follow from against their checksums.
        embeds_later: Whether the run embeds its data and builds the batch maker again, if it is
            given no embeddings.
    """

    samples: Samples
    batch_size: int
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    accumulate: int = 1
    embedding: str | None = None
    image_weight: float = 0.5
    verify: bool = False
    embeds_later: bool = False

    @property
    def exclude(self) -> np.ndarray:
        """Return the rejected rows, ascending int64."""
        return np.sort(np.fromiter(self.samples.rejected, np.int64))

    def sizes(self, exclude: Iterable[int] = ()) -> dict[str, Any]:
        """Return the arguments that every ``BatchSampler`` takes.

        Args:
            exclude: Rows that are in no batch, beside the rejected ones.
        """
        return {
            "batch_size": self.batch_size,
            "seed": self.seed,
            "rank": self.rank,
            "world_size": self.world_size,
            "accumulate": self.accumulate,
            "exclude": np.union1d(self.exclude, np.fromiter(exclude, np.int64)),
        }


class BatchSampler(ABC):
    """Base of the batch makers. A subclass says which rows a global batch holds.

    Args:
        num_samples: N, rows of the data set.
        batch_size: Rows per rank and micro-batch.
        seed: Seed of the order.
        rank: Number of this process.
        world_size: Number of processes.
        accumulate: Micro-batches per optimizer step. No row is twice in all of them together.
        exclude: Rows that are in no batch.

    Raises:
        UserError: exit 2 when the sizes do not fit together.

    Attributes:
        table: The hard pairs that the batches follow from, if they do.
        rows: The rows that can be in a batch.
        epoch: The epoch of ``batch`` and of iteration, from 0.
        global_batch_size: Rows of all ranks and micro-batches of a step.
        spares_per_rank: Spares of a micro-batch.
    """

    Config: ClassVar[type[Options]] = Options
    table: HardPairTable | None = None

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
            raise usage(f"`batch_size` must be at least 1, not {batch_size}")
        if batch_size % self.group_size:
            lower = batch_size // self.group_size * self.group_size
            raise usage(
                f"`batch_size` {batch_size} does not hold whole groups of {self.group_text}",
                fix=f"`batch_size` {lower or self.group_size} or {lower + self.group_size}",
            )
        self.num_samples, self.batch_size, self.seed = num_samples, batch_size, seed
        self.rank, self.world_size, self.accumulate = rank, world_size, accumulate
        self.global_batch_size = batch_size * world_size * accumulate
        self.rows = RowSet(num_samples, exclude)
        self.epoch = 0
        self._check_size()
        unused = len(self.rows) - self.global_batch_size
        self.spares_per_rank = min(
            max(1, int(batch_size * SPARE_SHARE)), unused // (world_size * accumulate)
        )
        # The micro-batches of a step ask for the same global batch.
        self._global_plan = lru_cache(maxsize=2)(self._make_global_plan)

    @classmethod
    def from_config(cls, config: Any, context: BatchContext) -> BatchSampler:
        """Build the batch maker. By default the options are arguments of the constructor.

        Args:
            config: An instance of ``cls.Config``.
            context: What the batch maker needs to know of the run.
        """
        return cls(len(context.samples), **vars(config), **context.sizes())

    def _check_size(self) -> None:
        usable = min(
            len(self.rows), self.num_targets * self.global_batch_size // self.targets_per_batch
        )
        if usable >= self.global_batch_size:
            return
        largest = usable // (self.world_size * self.accumulate) // self.group_size * self.group_size
        more_data = "more data, or fewer processes" if self.world_size > 1 else "more data"
        some = self.num_targets < len(self.rows)
        targets = f", {self.num_targets} of them targets," if some else ""
        raise usage(
            f"{len(self.rows)} usable rows{targets} are fewer than one global batch of "
            f"{self.global_batch_size}",
            where=f"`batch_size` {self.batch_size} x {self.world_size} processes "
            f"x `accumulate` {self.accumulate}",
            fix=f"`batch_size` {largest} or smaller"
            if largest * self.world_size > 1  # a batch of one pair has no negatives
            else more_data,
        )

    @abstractmethod
    def global_batch(
        self, step: int, epoch: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of a global batch and their roles.

        Args:
            step: Number of the global batch in the epoch, from 0.
            epoch: From 0.
            rng: The batch's own generator.

        Returns:
            (B,) int64 row numbers and (B,) uint8 roles, as in ``BatchInfo``.
        """

    @property
    def group_size(self) -> int:
        """Return the number of rows that stay on one rank, such as a target and its hard pairs."""
        return 1

    @property
    def group_text(self) -> str:
        """Return what a group is, for messages."""
        return f"{self.group_size} rows"

    @property
    def num_targets(self) -> int:
        """Return the number of rows that are a target once per epoch."""
        return len(self.rows)

    @property
    def targets_per_batch(self) -> int:
        """Return the number of targets of a global batch."""
        return self.global_batch_size

    @property
    def steps(self) -> int:
        """Return the number of global batches per epoch."""
        return -(-self.num_targets // self.targets_per_batch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of ``batch`` and of iteration, from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of micro-batches per rank and epoch."""
        return self.steps * self.accumulate

    def __iter__(self) -> Iterator[np.ndarray]:
        """Iterate over the row numbers of the epoch's micro-batches."""
        return (self.batch(number) for number in range(len(self)))

    def batch(self, number: int) -> np.ndarray:
        """Return the row numbers of this rank's micro-batch ``number``, (batch_size,) int64."""
        return np.asarray(self.plan(number).rows)

    def plan(self, number: int, epoch: int | None = None) -> BatchInfo:
        """Return rows, roles, targets and spares of a micro-batch of this rank.

        Args:
            number: Number of the micro-batch in the epoch, from 0.
            epoch: From 0; by default that of ``set_epoch``.
        """
        step, micro = divmod(number, self.accumulate)
        rows, roles, spares = self._global_plan(step, self.epoch if epoch is None else epoch)
        share = micro * self.world_size + self.rank
        own = slice(share * self.batch_size, (share + 1) * self.batch_size)
        own_spares = slice(share * self.spares_per_rank, (share + 1) * self.spares_per_rank)
        return BatchInfo.planned(rows[own], roles[own], spares[own_spares])

    def digest(self) -> str:
        """Return the SHA-256 of the first and the last global batch of epoch 0.

        Ranks whose digests differ would not train on the same epoch.
        """
        plans = [self._make_global_plan(step, 0) for step in (0, self.steps - 1)]
        parts = (array.tobytes() for plan in plans for array in plan)
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def _make_global_plan(self, step: int, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if not 0 <= step < self.steps:
            raise IndexError(f"batch {step} of an epoch of {self.steps}")
        rng = np.random.default_rng([self.seed, epoch, step])
        rows, roles = self.global_batch(step, epoch, rng)
        count = self.spares_per_rank * self.world_size * self.accumulate
        return rows, roles, self.rows.draw_outside(rows, count, rng)


def targets_of_step(rows: RowSet, step: int, count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the targets of a global batch: the next ones of the epoch's shuffle of ``rows``.

    All ranks share the shuffle. The last batch is topped up from its start.

    Args:
        rows: The rows that are targets once per epoch.
        step: Number of the global batch in the epoch, from 0.
        count: Targets of a global batch.
        seed: Seed of the order.
        epoch: From 0.

    Returns:
        (count,) int64.
    """
    positions = (np.arange(count) + step * count) % len(rows)
    return rows.at(shuffled(positions, len(rows), shuffle_keys(seed, epoch)))
