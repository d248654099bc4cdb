"""Rows in, embeddings out, batch by batch: decoding in worker processes, encoding here, and a clock that says which of them waits."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from hardpairs.core.workers import answer_to_the_parent
from hardpairs.data.images import read_images
from hardpairs.data.samples import Samples
from hardpairs.models.encoders.base import Encoders

Loaded = tuple[list[int], torch.Tensor | None, Any, dict[int, str]]
"""(kept rows, their pixels, their prepared captions, reasons of the others)."""


@dataclass(frozen=True)
class Embedded:
    """Embeddings of some rows: ``image`` (M, D) and ``text`` (M, E) float32 of unit length, ``rows`` (M,) int64 ascending, and reasons."""

    image: np.ndarray
    text: np.ndarray
    rows: np.ndarray
    rejected: dict[int, str]

    @classmethod
    def joined(cls, parts: list[Embedded]) -> Embedded:
        rejected = {row: reason for part in parts for row, reason in part.rejected.items()}
        parts = [part for part in parts if len(part.rows)]
        if not parts:
            return cls.nothing(rejected)
        return cls(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("image", "text", "rows")
            ),
            rejected,
        )

    @classmethod
    def nothing(cls, rejected: dict[int, str]) -> Embedded:
        """No row at all: the widths are not known then, and 0."""
        return cls(
            np.zeros((0, 0), np.float32),
            np.zeros((0, 0), np.float32),
            np.zeros(0, np.int64),
            rejected,
        )


@dataclass
class Clock:
    """Seconds spent waiting for loaded data, and encoding it."""

    waiting: float = 0.0
    encoding: float = 0.0

    @property
    def share_waiting(self) -> float:
        return self.waiting / max(self.waiting + self.encoding, 1e-9)


class _Loading(Dataset):
    """Loads a list of rows at a time, in a worker process; stacked there, since each tensor is passed on by itself."""

    def __init__(self, samples: Samples, encoders: Encoders) -> None:
        self.samples, self.transform, self.prepare = (
            samples,
            encoders.image.transform,
            encoders.text.prepare,
        )

    def __getitems__(self, rows: list[int]) -> Loaded:
        good, pixels, rejected = read_images(self.samples, rows, self.transform)
        if not good:
            return [], None, None, rejected
        return (
            good,
            torch.stack(pixels),
            self.prepare([self.samples.caption(row) for row in good]),
            rejected,
        )


def _same(loaded: Loaded) -> Loaded:
    return loaded


def loading(
    samples: Samples,
    encoders: Encoders,
    batches: Iterable[list[int]],
    *,
    workers: int,
    pin_memory: bool = False,
) -> DataLoader:
    """Loaded batches, in order."""
    return DataLoader(
        _Loading(samples, encoders),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_same,
        pin_memory=pin_memory,  # type: ignore[arg-type]
        worker_init_fn=answer_to_the_parent,
    )


def encode(encoders: Encoders, loaded: Loaded, device: str) -> Embedded:
    """Embeds a loaded batch."""
    good, pixels, captions, rejected = loaded
    if pixels is None:
        return Embedded.nothing(rejected)
    with torch.inference_mode():
        halves = (
            encoders.image.encode(pixels.to(device, non_blocking=True)),
            encoders.text.encode(captions),
        )
        image, text = (functional.normalize(half.float(), dim=-1).cpu().numpy() for half in halves)
    return Embedded(image, text, np.array(good, np.int64), rejected)


def encoded(
    samples: Samples,
    encoders: Encoders,
    batches: Iterable[list[int]],
    *,
    workers: int,
    device: str,
    clock: Clock | None = None,
) -> Iterator[Embedded]:
    """Embeds batches of rows, in order; a row whose picture cannot be read is in ``rejected`` with its reason."""
    clock = clock or Clock()
    loaded = iter(
        loading(samples, encoders, batches, workers=workers, pin_memory=device.startswith("cuda"))
    )
    while True:
        start = time.perf_counter()
        batch = next(loaded, None)
        clock.waiting += (before := time.perf_counter()) - start
        if batch is None:
            return
        rows = encode(encoders, batch, device)
        clock.encoding += time.perf_counter() - before
        yield rows
