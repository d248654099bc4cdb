"""Training data: batches of a batch maker, loaded by workers, as OpenCLIP's trainer asks for them.

``train_data`` is where to start reading. The data set and the order of batches are in
``dataset.py``, validation data in ``validation_data.py``, opening the samples in ``samples.py`` and
the choice of a batch maker in ``batching.py``.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from hardpairs.batches.base import BatchSampler
from hardpairs.batches.hard_pairs import HardPairBatchSampler
from hardpairs.core.errors import mismatch, usage
from hardpairs.core.workers import leave_signals_to_the_parent
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.manifest import NAME
from hardpairs.data.samples import Samples
from hardpairs.training.batching import BatchingConfig
from hardpairs.training.dataset import PlannedDataset, RunBatches
from hardpairs.training.saving import StateWriter

MOST_EMPTY = 0.1
"""Share of rows without hard pairs above which a run warns."""


@dataclass
class TrainData:
    """Training data with the attributes that OpenCLIP's trainer reads.

    Attributes:
        dataloader: Loads the batches; has ``num_batches`` and ``num_samples``.
        batches: The plans of the present epoch.
        samples: The training data.
        sampler_of: Returns the batch maker of an epoch, or ``None`` for the first one.
        start: Epoch (from 0) and optimizer step in it that training begins with.
        checkpoint: The last epoch's checkpoint until ``take_checkpoint``.
        unsaved: A checkpoint whose tensors are trained no further yet, and which no file holds.
        writer: Writes states between the ends of epochs, on rank 0.
    """

    dataloader: DataLoader[Any]
    batches: RunBatches
    samples: Samples
    sampler_of: Callable[[int], BatchSampler | None]
    start: tuple[int, int] = (0, 0)
    checkpoint: dict[str, Any] | None = None
    unsaved: dict[str, Any] | None = None
    writer: StateWriter | None = None

    def take_checkpoint(self) -> dict[str, Any] | None:
        """Return the last epoch's checkpoint, which holds the trained tensors, and forget it."""
        checkpoint, self.checkpoint = self.checkpoint, None
        return checkpoint

    @property
    def table(self) -> HardPairTable | None:
        """Return the hard pairs that the present batches follow from."""
        return self.batches.sampler.table

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch of the run (from 0), and to the hard pairs that were mined for it."""
        self.batches.epoch = epoch
        first, step = self.start
        self.batches.first = step * self.batches.sampler.accumulate if epoch == first else 0
        self.batches.sampler = self.sampler_of(epoch) or self.batches.sampler


@dataclass(frozen=True)
class Remining:
    """When hard pairs or embeddings are made anew during a run, and where they are kept.

    Attributes:
        every: Epochs between; ``None``: never.
        folder: A folder of the run.
        at_start: Whether the run was given none, and makes them before its first epoch, too.
    """

    every: int | None
    folder: Path
    at_start: bool = False

    def source(self, epoch: int) -> Path | None:
        """Return the files that an epoch (from 0) follows from; ``None`` for those given."""
        made = epoch // self.every * self.every if self.every else 0
        return self.folder / f"epoch_{made}" if made or self.at_start else None

    def is_missing(self, epoch: int) -> bool:
        """Return whether a run that was given no files lacks those of an epoch."""
        source = self.source(epoch)
        return self.at_start and source is not None and not (source / NAME).is_file()


def train_data(
    samples: Samples,
    batching: BatchingConfig,
    transform: Callable[[Any], torch.Tensor],
    tokenizer: Callable[[list[str]], torch.Tensor],
    *,
    num_batches: Callable[[BatchSampler], int] = len,
    remining: Remining | None = None,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> TrainData:
    """Return the training data of this rank. A collective call.

    Args:
        samples: The data.
        batching: The batch maker.
        transform: Called with each image; returns a tensor.
        tokenizer: Called with a list of captions; returns a tensor.
        num_batches: Returns the micro-batches of an OpenCLIP epoch; by default those of a pass over
            the data.
        remining: When the files that batches follow from are made anew.
        workers: Worker processes of the DataLoader.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        UserError: exit 2 for sizes that do not fit, exit 4 for files of other data, or when ranks
            would make different batches.
    """

    def agreed(batching: BatchingConfig) -> BatchSampler:
        sampler = batching.sampler(samples, rank=rank, world_size=world_size)
        check_ranks_agree(samples, sampler)
        return sampler

    @lru_cache(maxsize=1)
    def remined(folder: Path) -> BatchSampler:
        return agreed(batching.following(str(folder)))

    def sampler_of(epoch: int) -> BatchSampler | None:
        folder = remining.source(epoch) if remining is not None else None
        return None if folder is None else remined(folder)

    sampler = agreed(batching)
    batches = RunBatches(sampler, num_batches(sampler), workers)
    loader: Any = DataLoader(
        PlannedDataset(samples, transform, tokenizer, batching.seed),
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_whole_batch,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        worker_init_fn=leave_signals_to_the_parent,
    )
    loader.num_batches = len(batches)
    loader.num_samples = len(batches) * batching.batch_size * world_size
    if rank == 0:
        _log_batches(samples, batching.name, sampler, len(batches))
    return TrainData(loader, batches, samples, sampler_of)


def _whole_batch(batch: Any) -> Any:
    return batch


def check_ranks_agree(samples: Samples, sampler: BatchSampler) -> None:
    """Refuse to train when ranks would make different batches. A collective call.

    Ranks can differ in the files that a path names, and in the versions of libraries.

    Raises:
        UserError: exit 4, naming the ranks.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    digests: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(digests, (samples.fingerprint, sampler.digest()))
    others = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
    if others:
        raise mismatch(
            f"ranks {others} make other batches than rank 0",
            why="rows would be in two batches or in none",
            fix="give all machines the same data, hard pairs, embeddings and package versions",
        )


def batches_per_epoch(sampler: BatchSampler, max_steps: int | None = None, epochs: int = 1) -> int:
    """Return the micro-batches of one OpenCLIP epoch.

    Args:
        sampler: The batch maker.
        max_steps: Optimizer steps of the run; by default an epoch is a pass over the data.
        epochs: Number of equal parts that ``max_steps`` is cut into.

    Raises:
        UserError: exit 2 when ``max_steps`` cannot be cut into equal parts.
    """
    if max_steps is None:
        return len(sampler)
    if max_steps % epochs:
        raise usage(f"`max_steps` {max_steps} cannot be cut into `epochs` {epochs} equal parts")
    return max_steps // epochs * sampler.accumulate


def _log_batches(samples: Samples, name: str, sampler: BatchSampler, num_batches: int) -> None:
    if samples.rejected:
        reasons = dict(sorted(Counter(samples.rejected.values()).items()))
        logging.info(f"Rows that no batch may use: {reasons}.")
    if samples.labelled.any():
        logging.info(_labels_text(samples))
    if isinstance(sampler, HardPairBatchSampler):
        _log_hard_pairs(sampler)
    targets = sampler.targets_per_batch
    logging.info(
        f"Batches: {name}; {len(samples)} rows, {sampler.num_targets} targets, "
        f"{len(samples) - len(sampler.rows)} left out; a global batch of "
        f"{sampler.global_batch_size} holds {targets} targets and "
        f"{sampler.global_batch_size - targets} hard pairs; {len(sampler)} batches in a pass over "
        f"the data ({sampler.steps * targets - sampler.num_targets} positions filled again), "
        f"{num_batches} in an epoch."
    )


def _log_hard_pairs(sampler: HardPairBatchSampler) -> None:
    """Log how many rows have hard pairs; warn where many have none."""
    count, share = len(sampler.rows), sampler.with_hard_pairs / len(sampler.rows)
    others = "are no targets" if sampler.options.empty_rows == "skip" else "get random rows"
    logging.log(
        logging.INFO if share >= 1 - MOST_EMPTY else logging.WARNING,
        f"Hard pairs: {sampler.with_hard_pairs} of {count} usable rows have some "
        f"({share:.1%}); the others {others}.",
    )


def _labels_text(samples: Samples) -> str:
    usable = np.ones(len(samples), bool)
    usable[list(samples.rejected)] = False
    sizes = np.unique(samples.groups[usable & samples.labelled], return_counts=True)[1]
    return (
        f"Labels: {len(sizes)} on {sizes.sum()} rows, {(sizes == 1).sum()} of them on one row "
        f"alone; {(usable & ~samples.labelled).sum()} rows without one."
    )
