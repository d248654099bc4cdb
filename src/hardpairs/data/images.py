"""Image bytes to RGB pixels: one rule for mining, training, evaluation and display, and a reason when it cannot be done."""

from __future__ import annotations

import contextlib
import io
import warnings
from functools import cache

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
HEIC_REASON = "heic_without_pillow_heif"
HEIC_HELP = "pip install pillow-heif"
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
MAX_PIXELS = 64_000_000
"""Larger images are refused from their header, before any decoding (a 600 kB PNG can hold 200 megapixels)."""

MAX_ASPECT = 200
"""A picture longer than so many times its width is refused: scaled to a model's input by its short side, one of 1 x 5,000 pixels would
be 224 x 1,120,000: 750 MB."""


class BadImage(ValueError):
    """An image that cannot be used; its text is the reason: ``empty_image``, ``not_an_image``, ``truncated_image``, ``too_many_pixels``,
    ``too_narrow``, ``heic_without_pillow_heif``."""


@cache
def can_read_heic() -> bool:
    """Whether pillow-heif is installed; it is registered with Pillow then."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def decode(data: bytes, *, for_side: int | None = None) -> Image.Image:
    """Decodes image bytes to an RGB image: JPEG, PNG, WebP, GIF, BMP, TIFF, and HEIC where pillow-heif is installed.

    The first frame, turned upright by its EXIF orientation, transparency over white; metadata is dropped.

    Args:
        for_side: for display only: a JPEG is decoded at a half, a quarter or an eighth of its size where that leaves so many pixels a side,
            several times as fast.

    Raises:
        BadImage: with the reason as its text.
    """
    if not data:
        raise BadImage("empty_image")
    formats: tuple[str, ...] = FORMATS
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        if not can_read_heic():
            raise BadImage(HEIC_REASON)
        formats = ("HEIF",)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # broken metadata is no matter; too many pixels are checked below
        try:
            image = Image.open(io.BytesIO(data), formats=formats)
        except Image.DecompressionBombError:
            raise BadImage("too_many_pixels") from None
        except Exception:
            raise BadImage("not_an_image") from None
        if image.width * image.height > MAX_PIXELS:
            raise BadImage("too_many_pixels")
        if max(image.size) > MAX_ASPECT * min(image.size):
            raise BadImage("too_narrow")
        if for_side is not None:
            image.draft(None, (for_side, for_side))
        try:
            image.load()
        except Exception:
            raise BadImage("truncated_image") from None
        return _to_rgb(_upright(image))


def _upright(image: Image.Image) -> Image.Image:
    with contextlib.suppress(Exception):  # a broken EXIF block says nothing about the pixels
        ImageOps.exif_transpose(
            image, in_place=True
        )  # else it copies pictures that stand upright, too
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if (
        image.mode.startswith("I") or image.mode == "F"
    ):  # 16-bit and wider: scale to 8 bits, convert() would clip
        high = float(np.asarray(image.convert("F")).max())
        image = (
            image.convert("F")
            .point(lambda value: value / 257 if high > 255 else value)
            .convert("L")
        )
        return image.convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")
