"""Encode rows batch by batch: worker processes decode, this process encodes.

``Clock`` measures which of them waits for the other.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from hardpairs.core.errors import bad_input, non_finite
from hardpairs.core.workers import answer_to_the_parent
from hardpairs.data.images import read_images
from hardpairs.data.samples import Samples
from hardpairs.models.encoders.base import Encoders


class LoadedBatch(NamedTuple):
    """A decoded batch.

    Attributes:
        rows: The rows whose images could be read.
        pixels: (B, 3, H, W) float32; ``None`` without rows.
        captions: What the text encoder prepared; ``None`` without rows.
        rejected: Reasons of the other rows, by row.
    """

    rows: list[int]
    pixels: torch.Tensor | None
    captions: Any
    rejected: dict[int, str]


@dataclass(frozen=True)
class Embedded:
    """Embeddings of some rows.

    Attributes:
        image: (M, D) float32 of unit length.
        text: (M, E) float32 of unit length.
        rows: (M,) int64 ascending row numbers.
        rejected: Reasons of the rows that could not be embedded, by row.
    """

    image: np.ndarray
    text: np.ndarray
    rows: np.ndarray
    rejected: dict[int, str]

    @property
    def count(self) -> int:
        """Return the number of rows, those that could not be embedded included."""
        return len(self.rows) + len(self.rejected)

    @classmethod
    def joined(cls, parts: list[Embedded]) -> Embedded:
        """Return the embeddings of all parts, in order."""
        rejected = {row: reason for part in parts for row, reason in part.rejected.items()}
        parts = [part for part in parts if len(part.rows)]
        if not parts:
            return cls.nothing(rejected)
        image, text, rows = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("image", "text", "rows")
        )
        return cls(image, text, rows, rejected)

    @classmethod
    def nothing(cls, rejected: dict[int, str]) -> Embedded:
        """Return embeddings without rows; their widths are unknown and 0."""
        empty = np.zeros((0, 0), np.float32)
        return cls(empty, empty, np.zeros(0, np.int64), rejected)


@dataclass
class Clock:
    """Seconds spent waiting for loaded data, and encoding it."""

    waiting: float = 0.0
    encoding: float = 0.0

    @property
    def share_waiting(self) -> float:
        """Return the share of the time that was spent waiting."""
        return self.waiting / max(self.waiting + self.encoding, 1e-9)


class _Batches(Dataset[LoadedBatch]):
    """Loads a list of rows at a time, in a worker process.

    Images are stacked there, since a worker hands over each tensor by itself.
    """

    def __init__(self, samples: Samples, encoders: Encoders) -> None:
        self.samples, self.prepare = samples, encoders.text.prepare
        self.transform = encoders.image.transform

    def __getitems__(self, rows: list[int]) -> LoadedBatch:
        usable, pixels, rejected = read_images(self.samples, rows, self.transform)
        if not usable:
            return LoadedBatch([], None, None, rejected)
        captions = self.prepare([self.samples.caption(row) for row in usable])
        return LoadedBatch(usable, torch.stack(pixels), captions, rejected)


def usable_batches(
    rows: Iterable[int], rejected: Collection[int], size: int
) -> Iterator[list[int]]:
    """Yield the rows that are not rejected, ``size`` at a time."""
    usable = (row for row in rows if row not in rejected)
    while batch := list(islice(usable, size)):
        yield batch


def _unchanged(batch: Any) -> Any:
    return batch


def load_batches(
    samples: Samples,
    encoders: Encoders,
    batches: Iterable[list[int]],
    *,
    workers: int,
    pin_memory: bool = False,
) -> DataLoader[LoadedBatch]:
    """Return a loader of decoded batches, in order.

    Args:
        samples: The data set.
        encoders: Their transforms run in the workers.
        batches: Rows of each batch.
        workers: Processes that load and decode; 0 for this one.
        pin_memory: Put pixels into page-locked memory.
    """
    return DataLoader(
        _Batches(samples, encoders),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_unchanged,
        pin_memory=pin_memory,
        worker_init_fn=answer_to_the_parent,
    )


def encode_batch(encoders: Encoders, batch: LoadedBatch, device: str) -> Embedded:
    """Return the embeddings of a loaded batch."""
    if batch.pixels is None:
        return Embedded.nothing(batch.rejected)
    with torch.inference_mode():
        halves = (
            encoders.image.encode(batch.pixels.to(device, non_blocking=True)),
            encoders.text.encode(batch.captions),
        )
        image, text = (functional.normalize(half.float(), dim=-1).cpu().numpy() for half in halves)
    return Embedded(image, text, np.array(batch.rows, np.int64), batch.rejected)


def encode_batches(
    samples: Samples,
    encoders: Encoders,
    batches: Iterable[list[int]],
    *,
    workers: int,
    device: str,
    clock: Clock | None = None,
) -> Iterator[Embedded]:
    """Yield the embeddings of each batch, in order.

    Args:
        samples: The data set.
        encoders: Both halves.
        batches: Rows of each batch. A row with an unreadable image is in ``rejected``.
        workers: Processes that load and decode; 0 for this one.
        device: Where the encoders run.
        clock: Measures loading and encoding.
    """
    clock, pin_memory = clock or Clock(), device.startswith("cuda")
    loader = load_batches(samples, encoders, batches, workers=workers, pin_memory=pin_memory)
    loaded = iter(loader)
    while True:
        start = time.perf_counter()
        batch = next(loaded, None)
        clock.waiting += (before := time.perf_counter()) - start
        if batch is None:
            return
        embedded = encode_batch(encoders, batch, device)
        clock.encoding += time.perf_counter() - before
        yield embedded


def check_finite(part: Embedded) -> None:
    """Raise UserError (exit 6) for NaN or infinity in embeddings."""
    bad = ~(np.isfinite(part.image).all(axis=1) & np.isfinite(part.text).all(axis=1))
    if bad.any():
        raise non_finite(
            f"{bad.sum()} embeddings are not finite",
            where=f"rows {part.rows[bad][:10].tolist()}",
            fix="use other weights",
        )


def nothing_embedded(samples: Samples, rejected: dict[int, str]) -> Exception:
    """Return the error of data without a row that can be embedded (exit 3).

    Args:
        samples: The data set.
        rejected: Reasons of all rows.
    """
    return bad_input(
        "no pair could be embedded",
        where=samples.source,
        why=f"rejected: {dict(Counter(rejected.values()))}",
    )
