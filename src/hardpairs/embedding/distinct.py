"""Encode images and captions apart from each other: each once, however many pairs have it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from hardpairs.core.errors import non_finite
from hardpairs.core.workers import answer_to_the_parent, useful_workers
from hardpairs.data.images import UnreadableImage, read_image
from hardpairs.data.samples import Samples
from hardpairs.embedding.stream import Embedded, nothing_embedded
from hardpairs.models.encoders.base import Encoders, ImageEncoder, TextEncoder


class NumberedImages(Protocol):
    """Images by number."""

    def __len__(self) -> int:
        """Return how many there are."""

    def image(self, i: int) -> Image.Image:
        """Return image i, RGB, or raise UnreadableImage."""


class EncodedImages(NamedTuple):
    """Unit vectors of images.

    Attributes:
        vectors: (A, D) float32; zeros for an image that could not be read.
        unreadable: The reasons of those, by number.
    """

    vectors: np.ndarray
    unreadable: dict[int, str]


class _Loaded(NamedTuple):
    numbers: list[int]
    pixels: torch.Tensor | None
    unreadable: dict[int, str]


class _Images(Dataset[_Loaded]):
    def __init__(self, images: NumberedImages, encoder: ImageEncoder) -> None:
        self.images, self.transform = images, encoder.transform

    def __getitems__(self, numbers: list[int]) -> _Loaded:
        read: list[int] = []
        pixels: list[torch.Tensor] = []
        unreadable: dict[int, str] = {}
        for number in numbers:
            try:
                pixels.append(self.transform(self.images.image(number)))
                read.append(number)
            except UnreadableImage as error:
                unreadable[number] = str(error)
        return _Loaded(read, torch.stack(pixels) if pixels else None, unreadable)


def _as_it_is(batch: _Loaded) -> _Loaded:
    return batch


def encode_images(
    images: NumberedImages,
    encoder: ImageEncoder,
    *,
    batch_size: int = 256,
    workers: int = 2,
    device: str = "cpu",
) -> EncodedImages:
    """Encode all images.

    Args:
        images: The images.
        encoder: The model's half.
        batch_size: Images per batch.
        workers: Processes that read and decode; 0 for this one.
        device: Device of the model.

    Raises:
        UserError: Exit 6 for an embedding that is not finite.
    """
    starts = range(0, len(images), batch_size)
    loader = DataLoader(
        _Images(images, encoder),
        batch_sampler=[
            list(range(start, min(start + batch_size, len(images)))) for start in starts
        ],
        num_workers=useful_workers(workers, len(starts)),
        collate_fn=_as_it_is,  # type: ignore[arg-type]
        worker_init_fn=answer_to_the_parent,
    )
    numbers: list[int] = []
    vectors: list[np.ndarray] = []
    unreadable: dict[int, str] = {}
    for batch in _watched(loader, len(starts), "images"):
        unreadable |= batch.unreadable
        if batch.pixels is not None:
            with torch.inference_mode():
                vectors.append(_unit(encoder.encode(batch.pixels.to(device)), "images"))
            numbers += batch.numbers
    if not vectors:
        return EncodedImages(np.zeros((len(images), 1), np.float32), unreadable)
    found = np.concatenate(vectors)
    rows = np.zeros((len(images), found.shape[1]), np.float32)
    rows[numbers] = found
    return EncodedImages(rows, unreadable)


def encode_texts(texts: list[str], encoder: TextEncoder, *, batch_size: int = 256) -> np.ndarray:
    """Encode texts; return (B, D) float32 unit rows.

    Args:
        texts: B texts.
        encoder: The model's half.
        batch_size: Texts per batch.

    Raises:
        UserError: Exit 6 for an embedding that is not finite.
    """
    parts = []
    starts = range(0, len(texts), batch_size)
    for start in _watched(starts, len(starts), "captions"):
        with torch.inference_mode():
            features = encoder.encode(encoder.prepare(texts[start : start + batch_size]))
            parts.append(_unit(features, "captions"))
    return np.concatenate(parts)


@dataclass(frozen=True)
class _RowImages:
    """The images of some rows of a data set."""

    samples: Samples
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def image(self, i: int) -> Image.Image:
        return read_image(self.samples, int(self.rows[i]))


def embed_distinct(
    samples: Samples,
    encoders: Encoders,
    *,
    batch_size: int = 256,
    workers: int = 2,
    device: str = "cpu",
) -> Embedded:
    """Return the embeddings of every usable row, in memory; equal images or captions are one.

    Benchmarks have five captions for an image. ``embed`` encodes such an image five times.

    Args:
        samples: The data set.
        encoders: Both halves.
        batch_size: Images or captions per batch.
        workers: Processes that load and decode; 0 for this one.
        device: Where the encoders run.

    Returns:
        The embeddings. A row with an unreadable image is in ``rejected`` with its reason.

    Raises:
        UserError: Exit 3 when no row can be embedded; exit 6 for embeddings that are not finite.
    """
    samples.check_usable()
    usable = np.array([i for i in range(len(samples)) if i not in samples.rejected], np.int64)
    first, image_of = _numbered(samples.images[usable])
    images = encode_images(
        _RowImages(samples, usable[first]),
        encoders.image,
        batch_size=batch_size,
        workers=workers,
        device=device,
    )
    numbers = image_of.tolist()
    read = np.array([number not in images.unreadable for number in numbers], bool)
    reasons = {
        row: images.unreadable[number]
        for row, number in zip(usable.tolist(), numbers, strict=True)
        if number in images.unreadable
    }
    rejected = dict(sorted({**samples.rejected, **reasons}.items()))
    rows = usable[read]
    if not len(rows):
        raise nothing_embedded(samples, rejected)
    first, text_of = _numbered(samples.texts[rows])
    captions = [samples.caption(row) for row in rows[first].tolist()]
    text = encode_texts(captions, encoders.text, batch_size=batch_size)
    return Embedded(images.vectors[image_of[read]], text[text_of], rows, rejected)


def _numbered(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each different id appears first, ascending, and the number of each id."""
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    return first[order], number[inverse]


def _watched(batches: Iterable[Any], count: int, what: str) -> Iterable[Any]:
    """Return batches with a progress bar on a terminal."""
    bar: Iterable[Any] = tqdm(
        batches, total=count, unit="batch", desc=what, file=sys.stderr, disable=None
    )
    return bar


def _unit(features: torch.Tensor, what: str) -> np.ndarray:
    rows: np.ndarray = functional.normalize(features.float(), dim=-1).cpu().numpy()
    if not np.isfinite(rows).all():
        raise non_finite(f"embeddings of {what} are not finite", fix="use other weights")
    return rows
