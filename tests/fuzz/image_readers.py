"""Readers of images, one for each format and mode."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from hardpairs.data.images import decode
from tests.fuzz.reader import Reader, saved
from tests.helpers import picture

KINDS = (
    *(("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P"), ("GIF", "P")),
    *(("WEBP", "RGB"), ("BMP", "RGB"), ("TIFF", "RGB"), ("TIFF", "I"), ("TIFF", "F")),
)


def image_readers(folder: Path) -> Iterator[Reader]:
    """Yield the readers."""
    for kind, mode in KINDS:
        image = Image.open(io.BytesIO(picture(0))).convert(mode)
        whole = saved(lambda file, image=image, kind=kind: image.save(file, kind))
        yield Reader(f"images/{mode}.{kind}", whole, lambda path: decode(path.read_bytes()))
