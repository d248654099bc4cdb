"""Make the batches of a run again from the options it had, and draw them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardpairs.batches import HARD_PAIR, RANDOM, BatchInfo, BatchSampler
from hardpairs.core.errors import usage
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.samples import Samples
from hardpairs.pages.album import Album, ShownImage


@dataclass(frozen=True)
class DrawnBatch:
    """The first rows of a global batch, in the groups that its batch maker puts together.

    Attributes:
        step: Number of the batch in its epoch, from 0.
        size: Rows of the whole batch.
        groups: Images, each with a note: a hard pair's rank in its target's list, from 1;
            ``random`` for a random row that stands for one; else empty.
    """

    step: int
    size: int
    groups: list[list[tuple[ShownImage, str]]]

    @property
    def framed(self) -> bool:
        """True when some group has more than one row."""
        return any(len(group) > 1 for group in self.groups)

    @property
    def shown(self) -> int:
        """Number of rows that are drawn."""
        return sum(map(len, self.groups))


def open_run_samples(options: Mapping[str, Any]) -> Samples:
    """Open the data that a run was trained on.

    Args:
        options: The run's options by name, as in params.txt. A run of OpenCLIP alone has none of
            ours; they then have their defaults.

    Raises:
        UserError: Exit 2 or 3 when the data is not there any more or cannot be read.
    """
    from hardpairs.training.config import defaults
    from hardpairs.training.samples import open_training_samples

    return open_training_samples({**defaults(), **options})


def batch_makers(
    options: Mapping[str, Any], samples: Samples, *, processes: int
) -> tuple[BatchSampler, BatchSampler]:
    """Return a run's batch maker, and the one that draws random rows with the same seed.

    A global batch does not depend on how many ranks share it. Both batch makers therefore stand
    for a single rank that holds the whole global batch.

    Args:
        options: The run's options by name, as in params.txt.
        samples: The data that the run was trained on.
        processes: Processes of the run; its batch size is that of one.

    Raises:
        UserError: Exit 2 for batches that follow from embeddings which the run makes itself.
    """
    from hardpairs.training.batching import BatchingConfig
    from hardpairs.training.config import TrainingConfig

    if TrainingConfig.from_values(options).embeds_first:
        raise usage(
            "these batches follow from embeddings that the run makes before its first epoch",
            fix="embed the data, and name the folder with --batching-embeddings",
        )
    size = options["batch_size"] * processes
    own, random = (
        BatchingConfig.from_values(options, batch_size=size, batching=name).sampler(samples)
        for name in (options["batching"], "random")
    )
    return own, random


def global_batches(
    maker: BatchSampler, epoch: int, steps: Sequence[int] | None = None
) -> Iterator[BatchInfo]:
    """Yield global batches of an epoch, each with the accumulated micro-batches joined.

    Args:
        maker: A batch maker that stands for all ranks.
        epoch: Pass over the data, from 0.
        steps: Numbers of the batches; all of the epoch by default.

    Yields:
        Rows (B,) int64 and roles (B,) uint8 of a global batch.
    """
    for step in range(maker.steps) if steps is None else steps:
        first = step * maker.accumulate
        plans = [maker.plan(first + number, epoch) for number in range(maker.accumulate)]
        yield BatchInfo(
            rows=np.concatenate([plan.rows for plan in plans]),
            roles=np.concatenate([plan.roles for plan in plans]),
        )


def spread_steps(maker: BatchSampler, count: int) -> list[int]:
    """Return the numbers of at most ``count`` batches, spread evenly over an epoch."""
    steps = np.linspace(0, maker.steps - 1, min(count, maker.steps)).astype(np.int64)
    return [int(step) for step in np.unique(steps)]


def draw_batches(
    maker: BatchSampler,
    album: Album,
    table: HardPairTable | None,
    *,
    epoch: int,
    steps: Sequence[int],
    most_rows: int,
) -> list[DrawnBatch]:
    """Draw the first rows of some global batches.

    Args:
        maker: A batch maker that stands for all ranks.
        album: Images of the data set.
        table: Hard pairs, for the ranks of those in the batch.
        epoch: Pass over the data, from 0.
        steps: Numbers of the batches.
        most_rows: Rows to draw of a batch, at most; at least one whole group is drawn.
    """
    size = maker.group_size
    count = max(min(most_rows, maker.global_batch_size) // size, 1) * size
    drawn = []
    for step, batch in zip(steps, global_batches(maker, epoch, steps), strict=True):
        images = [
            (album.image(batch.rows[position]), _note(batch, position, size, table))
            for position in range(count)
        ]
        groups = [images[start : start + size] for start in range(0, count, size)]
        drawn.append(DrawnBatch(step, len(batch.rows), groups))
    return drawn


def _note(batch: BatchInfo, position: int, group_size: int, table: HardPairTable | None) -> str:
    if batch.roles[position] == RANDOM:
        return "random"
    if batch.roles[position] != HARD_PAIR or table is None:
        return ""
    hard_pairs = table.indices[batch.rows[position - position % group_size]]
    return str(int(np.flatnonzero(hard_pairs == batch.rows[position])[0]) + 1)
