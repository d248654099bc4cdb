"""Batches for the trainer: rows chosen by a sampler, read by number from a CSV or from tars, with what the losses need to know of them."""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset, default_collate

from hardpairs.batches.base import BatchSampler
from hardpairs.batches.info import BatchInfo
from hardpairs.core.errors import UserError, bad_input, flags, mismatch, usage
from hardpairs.core.workers import answer_to_the_parent
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.images import UnreadableImage, read_image
from hardpairs.data.rejects import read_rejects
from hardpairs.data.samples import Samples, open_samples
from hardpairs.data.unreadable import UnreadableImages
from hardpairs.training.batching import BatchingConfig


class Batch(NamedTuple):
    """One rank's micro-batch: images (b, 3, H, W) float, texts (b, L) int64, and what is known of its b rows (tensors)."""

    images: torch.Tensor
    texts: torch.Tensor
    info: BatchInfo


class PlannedDataset(Dataset):
    """Loads whole batches by plan, in a DataLoader worker."""

    def __init__(self, samples: Samples, transform: Callable, tokenizer: Callable) -> None:
        self.samples, self.transform, self.tokenizer = samples, transform, tokenizer
        self.positives = samples.positives

    def __len__(self) -> int:
        return len(self.samples)

    def __getitems__(self, plan: BatchInfo) -> Batch | UserError:
        """Returns an error instead of raising it, since a DataLoader loses an exception's fields on the way from a worker."""
        try:
            return self._load(plan)
        except UserError as error:
            return error

    def _load(self, plan: BatchInfo) -> Batch:
        rows, spares = plan.rows.copy(), iter(plan.spares)
        images, unreadable = [], []
        for place in range(len(rows)):
            while (image := self._image(rows[place], unreadable)) is None:
                rows[place] = next(spares, -1)
                if rows[place] < 0:
                    raise bad_input(
                        f"{len(unreadable)} images of one batch cannot be read, more than it has stand-ins",
                        where=f"{self.samples.source}, rows {[row for row, _ in unreadable[:10]]} ({unreadable[0][1]})",
                        fix="check the paths, or download the images again",
                    )
            images.append(image)
        texts = self.tokenizer([self.samples.caption(row) for row in rows])
        info = plan.replaced(rows, unreadable, self.positives[rows])
        return Batch(torch.stack(images), texts, info.as_tensors())

    def _image(self, row: int, unreadable: list[tuple[int, str]]) -> torch.Tensor | None:
        try:
            return self.transform(read_image(self.samples, row))
        except UnreadableImage as error:
            unreadable.append((int(row), str(error)))
            return None


def _same(batch: Any) -> Any:
    return batch


class RunBatches:
    """The plans of one OpenCLIP epoch, as a DataLoader's batch sampler.

    A run is one line of micro-batches, sampler epoch after sampler epoch; an OpenCLIP epoch is the next ``num_batches`` of them. The
    two are the same, unless ``--max-steps`` cuts the run into other parts.
    """

    def __init__(self, sampler: BatchSampler, num_batches: int) -> None:
        self.sampler, self.num_batches, self.epoch = sampler, num_batches, 0

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[BatchInfo]:
        for place in range(self.epoch * self.num_batches, (self.epoch + 1) * self.num_batches):
            epoch, number = divmod(place, len(self.sampler))
            yield replace(self.sampler.plan(number, epoch), epochs_done=place / self.num_batches)


@dataclass
class TrainData:
    """What OpenCLIP's trainer asks of ``data["train"]``: a ``dataloader`` with ``num_batches`` and ``num_samples``, and ``set_epoch``."""

    dataloader: DataLoader
    batches: RunBatches
    samples: Samples
    sampler_of: Callable[[int], BatchSampler | None]

    @property
    def table(self) -> HardPairTable | None:
        """The hard pairs that the present batches follow from."""
        return self.batches.sampler.table

    def set_epoch(self, epoch: int) -> None:
        """Goes to an epoch of the run (from 0), and to the hard pairs that were mined for it."""
        self.batches.epoch = epoch
        self.batches.sampler = self.sampler_of(epoch) or self.batches.sampler


def open_training_samples(args: argparse.Namespace) -> Samples:
    """The samples that ``--train-data`` and the ``--csv-*`` flags name, without those of ``--reject``; opened once per process."""
    samples = _open_samples(args.train_data, *_table_flags(args), args.reject)
    if args.reject:
        samples.rejected.update(_new_rejects(args.reject, samples))
    return samples


def open_validation_samples(args: argparse.Namespace) -> Samples:
    """The samples that ``--val-data`` names, by the same column names."""
    return open_table_or_folder(args.val_data, args)


def _new_rejects(path: str, samples: Samples) -> dict[int, str]:
    found = read_rejects(path, num_samples=len(samples), fingerprint=samples.fingerprint)
    return {row: reason for row, reason in found.items() if row not in samples.rejected}


@lru_cache(maxsize=4)
def _open_samples(
    source: str,
    separator: str,
    image_key: str,
    caption_key: str,
    group_key: str,
    unlabelled: tuple[str, ...],
    image_root: str | None,
    reject: str | None = None,
) -> Samples:
    with flags(
        ["image_root"],
        separator="--csv-separator",
        image_key="--csv-img-key",
        caption_key="--csv-caption-key",
        group_key="--csv-label-key",
    ):
        return open_samples(
            source,
            separator=separator,
            image_key=image_key,
            caption_key=caption_key,
            group_key=group_key,
            unlabelled=unlabelled,
            image_root=image_root,
        )


def _table_flags(args: argparse.Namespace) -> tuple:
    return (
        args.csv_separator,
        args.csv_img_key,
        args.csv_caption_key,
        args.csv_group_key,
        tuple(args.unlabelled),
        args.image_root,
    )


def open_table_or_folder(source: str, args: argparse.Namespace) -> Samples:
    """Other samples than the training ones, read by the same ``--csv-*`` flags; opened once per process."""
    return _open_samples(source, *_table_flags(args))


def make_sampler(
    args: argparse.Namespace, samples: Samples, *, rank: int, world_size: int, verify: bool = False
) -> BatchSampler:
    """The batch maker that the flags name, checked against the data.

    Raises:
        UserError: exit 2 for sizes that do not fit, exit 4 for a table of other data.
    """
    batching = BatchingConfig.from_values(vars(args))
    with flags(**batching.flags):
        return batching.sampler(samples, rank=rank, world_size=world_size, verify=verify)


def remined_table(args: argparse.Namespace, epoch: int) -> Path | None:
    """Where the hard pairs or embeddings lie that ``--remine-every`` has made for an epoch (from 0); ``None`` as long as the first ones hold."""
    made = epoch // args.remine_every * args.remine_every if args.remine_every else 0
    return Path(args.logs) / args.name / "remined" / f"epoch_{made}" if made else None


def check_ranks_agree(samples: Samples, sampler: BatchSampler) -> None:
    """Refuses (exit 4) to train when ranks would make different batches: other files under one path, other versions of a library.

    A collective call: every rank takes part.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, (samples.fingerprint, sampler.digest()))
    others = [rank for rank, theirs in enumerate(found) if theirs != found[0]]
    if others:
        raise mismatch(
            f"ranks {others} make other batches than rank 0",
            why="rows would be seen twice or never",
            fix="give all machines the same data, hard pairs, embeddings and package versions",
        )


def batches_per_epoch(args: argparse.Namespace, sampler: BatchSampler) -> int:
    """Micro-batches of one OpenCLIP epoch: a pass over the data, unless ``--max-steps`` cuts the run into other parts."""
    if args.max_steps is None:
        return len(sampler)
    if args.max_steps % args.epochs:
        raise usage(
            f"--max-steps {args.max_steps} cannot be cut into --epochs {args.epochs} equal parts"
        )
    return args.max_steps // args.epochs * args.accum_freq


def train_data(args: argparse.Namespace, transform: Callable, tokenizer: Callable) -> TrainData:
    """The training data of this rank."""
    samples = open_training_samples(args)
    sampler = make_sampler(args, samples, rank=args.rank, world_size=args.world_size)
    check_ranks_agree(samples, sampler)
    num_batches = batches_per_epoch(args, sampler)
    batches = RunBatches(sampler, num_batches)

    @lru_cache(maxsize=1)
    def remined(table: Path) -> BatchSampler:
        made = "hard_dict_dir" if args.hard_dict_dir else "batching_embeddings"
        other = argparse.Namespace(**{**vars(args), made: str(table)})
        sampler = make_sampler(other, samples, rank=args.rank, world_size=args.world_size)
        check_ranks_agree(samples, sampler)
        return sampler

    def sampler_of(epoch: int) -> BatchSampler | None:
        table = remined_table(args, epoch)
        return None if table is None else remined(table)

    loader = DataLoader(
        PlannedDataset(samples, transform, tokenizer),
        batch_sampler=batches,
        num_workers=args.workers,
        collate_fn=_same,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=args.workers > 0,
        worker_init_fn=answer_to_the_parent,
    )
    loader.num_batches = num_batches
    loader.num_samples = num_batches * args.batch_size * args.world_size
    _announce(args, samples, sampler, num_batches)
    return TrainData(loader, batches, samples, sampler_of)


def _announce(
    args: argparse.Namespace, samples: Samples, sampler: BatchSampler, num_batches: int
) -> None:
    if args.rank:
        return
    steps = num_batches // args.accum_freq * args.epochs
    if args.lr_scheduler != "const" and args.warmup >= steps:
        logging.warning(
            f"--warmup {args.warmup} is longer than the run's {steps} steps: the learning rate never gets to {args.lr}."
        )
    if samples.rejected:
        logging.info(
            f"Rows that no batch may use: {dict(sorted(Counter(samples.rejected.values()).items()))}."
        )
    if samples.labelled.any():
        logging.info(_labels_text(samples))
    targets, partners = (
        sampler.targets_per_batch,
        sampler.global_batch_size - sampler.targets_per_batch,
    )
    logging.info(
        f"Batches: {args.batching}; {len(samples)} rows, {sampler.num_targets} targets, {len(samples) - len(sampler.rows)} left out; "
        f"a global batch of {sampler.global_batch_size} holds {targets} targets and {partners} partners; {len(sampler)} batches in a pass "
        f"over the data ({sampler.steps * targets - sampler.num_targets} places filled again), {num_batches} in an epoch."
    )
    if args.train_num_samples and args.train_num_samples != len(samples):
        logging.info(
            f"--train-num-samples {args.train_num_samples} is not needed here; the data has {len(samples)} rows."
        )


def _labels_text(samples: Samples) -> str:
    usable = np.ones(len(samples), bool)
    usable[list(samples.rejected)] = False
    sizes = np.unique(samples.groups[usable & samples.labelled], return_counts=True)[1]
    return (
        f"Labels: {len(sizes)} on {sizes.sum()} rows, {(sizes == 1).sum()} of them on one row alone; "
        f"{(usable & ~samples.labelled).sum()} rows without one."
    )


class Pairs(Dataset):
    """(place among ``rows``, image, tokens) of each usable row, for validation and for mining anew; (place, reason) where the image cannot be read."""

    def __init__(self, samples: Samples, transform: Callable, tokenizer: Callable) -> None:
        self.samples, self.transform, self.tokenizer = samples, transform, tokenizer
        self.rows = [row for row in range(len(samples)) if row not in samples.rejected]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> tuple[int, torch.Tensor, torch.Tensor] | tuple[int, str]:
        row = self.rows[place]
        try:
            return (
                place,
                self.transform(read_image(self.samples, row)),
                self.tokenizer([self.samples.caption(row)])[0],
            )
        except UnreadableImage as error:
            return place, str(error)


class PairBatch(NamedTuple):
    """Those of a batch of ``Pairs`` that can be read: places (b,) int64, images (b, 3, H, W), texts (b, L); and (place, reason) of the others."""

    places: torch.Tensor
    images: torch.Tensor
    texts: torch.Tensor
    unreadable: list[tuple[int, str]]


def pair_batch(items: list[tuple]) -> PairBatch:
    """Collates ``Pairs``; b may be 0."""
    read = [item for item in items if len(item) == 3]
    places, images, texts = (
        default_collate(read)
        if read
        else (torch.empty(0, dtype=torch.int64), torch.empty(0), torch.empty(0))
    )
    return PairBatch(places, images, texts, [item for item in items if len(item) == 2])


class ValidationBatches:
    """What OpenCLIP's evaluation goes over: (images, texts) of the rows whose images can be read.

    Attributes:
        rows: row numbers of the last pass, in order. num_samples, num_batches: as OpenCLIP's loaders have them.
    """

    def __init__(self, pairs: Pairs, loader: DataLoader) -> None:
        self.samples, self._pairs, self._loader = pairs.samples, pairs, loader
        self.num_batches, self.num_samples = len(loader), len(pairs)
        self.rows: list[int] = []
        self.unreadable = UnreadableImages(pairs.samples, log=True)

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        self.rows = []
        for batch in self._loader:
            self.unreadable.add(
                (self._pairs.rows[place], reason) for place, reason in batch.unreadable
            )
            self.rows += [self._pairs.rows[place] for place in batch.places.tolist()]
            if len(batch.places):
                yield batch.images, batch.texts
        if not self.rows:
            raise bad_input(
                "no validation image can be read", where=self.samples.source, fix="check the paths"
            )


@dataclass
class EvalData:
    """What OpenCLIP's trainer asks of ``data["val"]``."""

    dataloader: ValidationBatches


def val_data(args: argparse.Namespace, transform: Callable, tokenizer: Callable) -> EvalData:
    """``--val-data`` through the same reader as the training data, so that shards' members and tables are found alike, and images that cannot be read
    are named and left out alike."""
    pairs = Pairs(open_validation_samples(args), transform, tokenizer)
    options = {
        "batch_size": args.batch_size,
        "num_workers": args.workers,
        "worker_init_fn": answer_to_the_parent,
    }
    return EvalData(ValidationBatches(pairs, DataLoader(pairs, collate_fn=pair_batch, **options)))
