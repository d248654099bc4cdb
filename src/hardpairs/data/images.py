"""Image bytes to RGB pixels, by one rule for mining, training, evaluation and display.

``decode`` turns bytes into an image, ``read_image`` reads and decodes a row of a data set, and
``read_images`` does so for many rows and keeps the reasons of those that fail.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MISSING_FILE = "missing_file"
HEIC_REASON = "heic_without_pillow_heif"
HEIC_HELP = "pip install pillow-heif"
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
MAX_PIXELS = 64_000_000
"""Larger images are refused from their header, before any decoding: 600 kB of PNG can hold 200
megapixels."""
MAX_ASPECT = 200
"""Images longer than this many times their width are refused. Scaled by its short side to a model's
input, an image of 1 x 5,000 pixels would be 224 x 1,120,000: 750 MB."""


class UnreadableImage(ValueError):
    """An image that cannot be read or decoded.

    Its text is the reason: ``missing_file``, ``empty_image``, ``not_an_image``,
    ``truncated_image``, ``too_many_pixels``, ``too_narrow`` or ``heic_without_pillow_heif``.
    """


class HasImages(Protocol):
    """Encoded images by row number, as ``hardpairs.data.samples.Samples`` has them."""

    def image_bytes(self, i: int) -> bytes:
        """Return the encoded image of row i, or raise OSError."""


class ReadImages(NamedTuple):
    """Images that were read, and the reasons of the unreadable ones.

    Attributes:
        rows: The rows whose images could be read, in order.
        images: Their images, transformed.
        unreadable: The reasons of the other rows, by row.
    """

    rows: list[int]
    images: list[Any]
    unreadable: dict[int, str]


def read_images(
    samples: HasImages, rows: Iterable[int], transform: Callable[[Image.Image], Any]
) -> ReadImages:
    """Read, decode and transform the images of some rows.

    Args:
        samples: The data set.
        rows: Row numbers.
        transform: Called with each RGB image.
    """
    read = ReadImages([], [], {})
    for row in rows:
        try:
            read.images.append(transform(read_image(samples, row)))
            read.rows.append(int(row))
        except UnreadableImage as error:
            read.unreadable[int(row)] = str(error)
    return read


def read_image(samples: HasImages, row: int) -> Image.Image:
    """Return the RGB image of a row.

    Raises:
        UnreadableImage: The file cannot be read (``missing_file``) or decoded.
    """
    return read_and_decode(lambda: samples.image_bytes(int(row)))


def read_and_decode(read: Callable[[], bytes], *, for_side: int | None = None) -> Image.Image:
    """Return the RGB image whose bytes a function reads.

    Args:
        read: Returns the encoded image, or raises OSError.
        for_side: As in ``decode``.

    Raises:
        UnreadableImage: The file cannot be read (``missing_file``) or decoded.
    """
    try:
        data = read()
    except OSError as error:
        raise UnreadableImage(MISSING_FILE) from error
    return decode(data, for_side=for_side)


@cache
def can_read_heic() -> bool:
    """Return whether pillow-heif is installed, after registering it with Pillow."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def decode(data: bytes, *, for_side: int | None = None) -> Image.Image:
    """Decode image bytes to an RGB image.

    The formats are JPEG, PNG, WebP, GIF, BMP, TIFF, and HEIC where pillow-heif is installed. The
    result is the first frame, turned upright by its EXIF orientation, transparency over white,
    without metadata.

    Args:
        data: The encoded image.
        for_side: For display only. A JPEG is decoded at a half, a quarter or an eighth of its size
            where that leaves this many pixels a side, which is several times as fast.

    Raises:
        UnreadableImage: The bytes are no usable image.
    """
    if not data:
        raise UnreadableImage("empty_image")
    formats: tuple[str, ...] = FORMATS
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        if not can_read_heic():
            raise UnreadableImage(HEIC_REASON)
        formats = ("HEIF",)
    with warnings.catch_warnings():
        # Broken metadata does not matter, and the number of pixels is checked below.
        warnings.simplefilter("ignore")
        try:
            image: Image.Image = Image.open(io.BytesIO(data), formats=formats)
        except Image.DecompressionBombError:
            raise UnreadableImage("too_many_pixels") from None
        except Exception:
            raise UnreadableImage("not_an_image") from None
        if image.width * image.height > MAX_PIXELS:
            raise UnreadableImage("too_many_pixels")
        if max(image.size) > MAX_ASPECT * min(image.size):
            raise UnreadableImage("too_narrow")
        if for_side is not None:
            image.draft(None, (for_side, for_side))
        try:
            image.load()
        except Exception:
            raise UnreadableImage("truncated_image") from None
        return _to_rgb(_upright(image))


def _upright(image: Image.Image) -> Image.Image:
    with contextlib.suppress(Exception):  # a broken EXIF block says nothing about the pixels
        ImageOps.exif_transpose(image, in_place=True)  # not in place, it copies every image
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":
        # 16 bits and wider: scaled to 8 bits, since convert() would clip.
        high = float(np.asarray(image.convert("F")).max())
        scaled = image.convert("F").point(lambda value: value / 257 if high > 255 else value)
        return scaled.convert("L").convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")
