"""Places in, unit vectors out, batch by batch: reading, hashing and decoding in worker processes, encoding here."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from hardpairs.core.errors import non_finite
from hardpairs.core.workers import answer_to_the_parent
from hardpairs.data.images import UnreadableImage, decode
from hardpairs.models.encoders import Encoders, ImageEncoder
from hardpairs.photos.pictures import read_place
from hardpairs.photos.scan import Place
from hardpairs.photos.table import NO_DIGEST, Row

MISSING = "missing_file"


class Loaded(NamedTuple):
    """A batch: ``good`` rows in the order of ``pixels`` (B, 3, H, W); ``known`` ones, whose content has an embedding; ``bad`` ones."""

    good: list[Row]
    pixels: torch.Tensor | None
    known: list[Row]
    bad: list[Row]


class _Loading(Dataset):
    def __init__(
        self,
        places: list[Place],
        captions: dict[tuple[str, str], str],
        known: Collection[bytes],
        encoder: ImageEncoder,
    ) -> None:
        self.places, self.captions, self.known, self.transform = (
            places,
            captions,
            known,
            encoder.transform,
        )

    def __getitems__(self, numbers: list[int]) -> Loaded:
        good, pixels, known, bad = [], [], [], []
        for place in (self.places[number] for number in numbers):
            digest = NO_DIGEST
            try:
                data = read_place(place)
                digest = hashlib.sha256(data).digest()
                row = Row(place, digest, self.captions.get(place[:2], ""))
                if digest in self.known:
                    known.append(row)
                    continue
                pixels.append(self.transform(decode(data)))
                good.append(row)
            except UnreadableImage as error:
                bad.append(Row(place, digest, str(error)))
            except OSError:
                bad.append(Row(place, digest, MISSING))
        return Loaded(good, torch.stack(pixels) if pixels else None, known, bad)


def _same(loaded: Loaded) -> Loaded:
    return loaded


def loading(
    places: list[Place],
    captions: dict[tuple[str, str], str],
    known: Collection[bytes],
    encoder: ImageEncoder,
    *,
    batch_size: int,
    workers: int,
) -> Iterator[Loaded]:
    """Batches of places, in order.

    Args:
        captions: of those that have one, as ``hardpairs.photos.scan.Found`` has them.
        known: sha256 of contents that need no pixels.
    """
    batches = [
        range(start, min(start + batch_size, len(places)))
        for start in range(0, len(places), batch_size)
    ]
    return iter(
        DataLoader(
            _Loading(places, captions, known, encoder),
            batch_sampler=batches,  # type: ignore[arg-type]
            num_workers=workers
            if len(batches) > 1
            else 0,  # processes cost more than a few pictures do
            collate_fn=_same,
            worker_init_fn=answer_to_the_parent,
        )
    )


def encode_pixels(encoders: Encoders, pixels: torch.Tensor, device: str) -> np.ndarray:
    """(B, D) float32 unit rows."""
    with torch.inference_mode():
        return _unit(encoders.image.encode(pixels.to(device)), "a picture")


def encode_texts(encoders: Encoders, texts: list[str]) -> np.ndarray:
    """(T, D) float32 unit rows."""
    with torch.inference_mode():
        return _unit(encoders.text.encode(encoders.text.prepare(texts)), "a text")


def _unit(features: torch.Tensor, what: str) -> np.ndarray:
    vectors = functional.normalize(features.float(), dim=-1).cpu().numpy()
    if not np.isfinite(vectors).all():
        raise non_finite(
            f"the model gives {what} an embedding that is not finite", fix="use other weights"
        )
    return vectors
