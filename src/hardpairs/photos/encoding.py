"""Photos to unit vectors, batch by batch: worker processes read and decode, this one encodes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from hardpairs.core.errors import non_finite
from hardpairs.core.workers import answer_to_the_parent, useful_workers
from hardpairs.data.images import MISSING_FILE, UnreadableImage, decode
from hardpairs.models.encoders import Encoders, ImageEncoder
from hardpairs.photos.photo_files import read_photo
from hardpairs.photos.scan import PhotoFile
from hardpairs.photos.table import NO_DIGEST, Row


class PhotoBatch(NamedTuple):
    """Photos that were read together.

    Attributes:
        decoded: Rows in the order of ``pixels``.
        pixels: (B, 3, H, W) float32, or ``None`` where no image was decoded.
        cached: Rows whose content has an embedding already.
        unreadable: Rows whose image cannot be read; their note is the reason.
    """

    decoded: list[Row]
    pixels: torch.Tensor | None
    cached: list[Row]
    unreadable: list[Row]


class _Photos(Dataset[PhotoBatch]):
    def __init__(
        self,
        files: list[PhotoFile],
        captions: Mapping[tuple[str, str], str],
        cached: Collection[bytes],
        encoder: ImageEncoder,
    ) -> None:
        self.files, self.captions, self.cached = files, captions, cached
        self.transform = encoder.transform

    def __getitems__(self, numbers: list[int]) -> PhotoBatch:
        decoded: list[Row] = []
        pixels: list[torch.Tensor] = []
        cached: list[Row] = []
        unreadable: list[Row] = []
        for file in (self.files[number] for number in numbers):
            digest = NO_DIGEST
            try:
                data = read_photo(file)
                digest = hashlib.sha256(data).digest()
                row = Row(file, digest, self.captions.get(file.name, ""))
                if digest in self.cached:
                    cached.append(row)
                    continue
                pixels.append(self.transform(decode(data)))
                decoded.append(row)
            except UnreadableImage as error:
                unreadable.append(Row(file, digest, str(error)))
            except OSError:
                unreadable.append(Row(file, digest, MISSING_FILE))
        return PhotoBatch(decoded, torch.stack(pixels) if pixels else None, cached, unreadable)


def _as_it_is(batch: PhotoBatch) -> PhotoBatch:
    return batch


def load_batches(
    files: list[PhotoFile],
    captions: Mapping[tuple[str, str], str],
    cached: Collection[bytes],
    encoder: ImageEncoder,
    *,
    batch_size: int,
    workers: int,
) -> Iterator[PhotoBatch]:
    """Return an iterator over batches of photos, in order.

    Args:
        files: The photos.
        captions: Captions by path and key, as in ``hardpairs.photos.scan.ScanResult``.
        cached: SHA-256 of the contents that have an embedding and need no pixels.
        encoder: Its transform prepares the pixels.
        batch_size: Files per batch.
        workers: Processes that read and decode; 0 for this process.
    """
    starts = range(0, len(files), batch_size)
    batches = [range(start, min(start + batch_size, len(files))) for start in starts]
    return iter(
        DataLoader(
            _Photos(files, captions, cached, encoder),
            batch_sampler=batches,  # type: ignore[arg-type]
            # Starting processes takes longer than reading a single batch.
            num_workers=useful_workers(workers, len(batches)),
            collate_fn=_as_it_is,  # type: ignore[arg-type]
            worker_init_fn=answer_to_the_parent,
        )
    )


def encode_pixels(encoders: Encoders, pixels: torch.Tensor, device: str) -> np.ndarray:
    """Encode images.

    Args:
        encoders: The model.
        pixels: (B, 3, H, W) float32.
        device: Device of the model.

    Returns:
        (B, D) float32 unit rows.

    Raises:
        UserError: exit 6 when the model returns NaN or infinity.
    """
    with torch.inference_mode():
        return _unit_vectors(encoders.image.encode(pixels.to(device)), "an image")


def encode_texts(encoders: Encoders, texts: list[str]) -> np.ndarray:
    """Encode T texts; return (T, D) float32 unit rows.

    Raises:
        UserError: exit 6 when the model returns NaN or infinity.
    """
    with torch.inference_mode():
        return _unit_vectors(encoders.text.encode(encoders.text.prepare(texts)), "a text")


def _unit_vectors(features: torch.Tensor, what: str) -> np.ndarray:
    vectors: np.ndarray = functional.normalize(features.float(), dim=-1).cpu().numpy()
    if not np.isfinite(vectors).all():
        message = f"the model returns an embedding of {what} that is not finite"
        raise non_finite(message, fix="use other weights")
    return vectors
