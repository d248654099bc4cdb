"""Whole training batches by plan: the data set that a DataLoader's workers run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from hardpairs.batches.base import BatchSampler
from hardpairs.batches.info import BatchInfo
from hardpairs.core.errors import UserError, bad_input
from hardpairs.data.images import NO_ANSWER, UnreadableImage, read_image
from hardpairs.data.samples import Samples
from hardpairs.training.augment import seeded


class Batch(NamedTuple):
    """One rank's micro-batch of b rows.

    Attributes:
        images: (b, 3, H, W) float.
        texts: (b, L) int64.
        info: What is known of the rows, as tensors.
    """

    images: torch.Tensor
    texts: torch.Tensor
    info: BatchInfo


class PlannedDataset(Dataset[Any]):
    """Load whole batches by plan.

    The random changes of an image follow from the seed, the step and the row.

    Args:
        samples: The training data.
        transform: Called with each image; returns a tensor.
        tokenizer: Called with a list of captions; returns a tensor.
        seed: Seed of what the transform draws.
    """

    def __init__(
        self,
        samples: Samples,
        transform: Callable[[Any], torch.Tensor],
        tokenizer: Callable[[list[str]], torch.Tensor],
        seed: int = 0,
    ) -> None:
        self.samples, self.transform, self.tokenizer = samples, transform, tokenizer
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of rows of the data."""
        return len(self.samples)

    def __getitems__(self, plan: BatchInfo) -> Batch | UserError:
        """Return the batch of a plan.

        An error is returned instead of raised: a DataLoader loses the fields of an exception on the
        way from a worker.
        """
        try:
            return self._load(plan)
        except UserError as error:
            return error

    def _load(self, plan: BatchInfo) -> Batch:
        self.samples.read_ahead([*plan.rows, *(() if plan.coming is None else plan.coming)])
        rows, spares = np.array(plan.rows), iter(plan.spares)
        images: list[torch.Tensor] = []
        unreadable: list[tuple[int, str]] = []
        for position in range(len(rows)):
            while len(images) == position:
                try:
                    image = read_image(self.samples, rows[position])
                    with seeded(self.seed, plan.step, int(rows[position])):
                        images.append(self.transform(image))
                except UnreadableImage as error:
                    unreadable.append((int(rows[position]), str(error)))
                    rows[position] = next(spares, -1)
                    if rows[position] < 0:
                        raise self._too_few_spares(unreadable, error) from None
        texts = self.tokenizer([self.samples.caption(row) for row in rows])
        info = plan.replaced(rows, unreadable, self.samples.positives_of(rows))
        return Batch(torch.stack(images), texts, info.as_tensors())

    def _too_few_spares(
        self, unreadable: Sequence[tuple[int, str]], last: UnreadableImage
    ) -> UserError:
        rows = [row for row, _ in unreadable[:10]]
        from_server = str(last) == NO_ANSWER
        return bad_input(
            f"{len(unreadable)} images of one batch are unreadable, more than it has spares",
            where=f"{self.samples.source}, rows {rows} ({unreadable[0][1]})",
            why=str(last.__cause__) if from_server else "",
            fix="check the server, the network and the access rights, and start again"
            if from_server
            else "check the paths, or download the images again",
        )


class RunBatches:
    """The plans of one OpenCLIP epoch, as a DataLoader's batch sampler.

    A run is one sequence of micro-batches, one epoch of the batch maker after the other; an
    OpenCLIP epoch is the next ``num_batches`` of them. The two kinds of epoch differ only where the
    number of steps is given.

    Args:
        sampler: The batch maker.
        num_batches: Micro-batches of an OpenCLIP epoch.
        workers: Processes that load batches in turn; 0 for one. Each plan says which rows its
            worker loads next.

    Attributes:
        epoch: Number of the OpenCLIP epoch, from 0.
        first: Micro-batch of the epoch that iteration begins with.
    """

    def __init__(self, sampler: BatchSampler, num_batches: int, workers: int = 0) -> None:
        self.sampler, self.num_batches, self.epoch, self.first = sampler, num_batches, 0, 0
        self.workers = workers

    def __len__(self) -> int:
        """Return the number of micro-batches of an OpenCLIP epoch."""
        return self.num_batches

    def __iter__(self) -> Iterator[BatchInfo]:
        """Iterate over the plans of the epoch, from ``first`` on."""
        plans = self._plans()
        waiting = deque(islice(plans, max(self.workers, 1)))
        for plan in plans:
            yield replace(waiting.popleft(), coming=plan.rows)
            waiting.append(plan)
        yield from waiting

    def _plans(self) -> Iterator[BatchInfo]:
        start = self.epoch * self.num_batches
        for number in range(start + self.first, start + self.num_batches):
            epoch, batch = divmod(number, len(self.sampler))
            plan = self.sampler.plan(batch, epoch)
            step = number // self.sampler.accumulate
            yield replace(plan, epochs_done=number / self.num_batches, step=step)
