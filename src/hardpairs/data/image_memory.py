"""How much memory decoding an image takes, from its header alone."""

from __future__ import annotations

from typing import Any

from PIL import Image

_NARROW = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
"""Bytes of a pixel in Pillow's memory by mode; 4 in other modes, RGB included."""
_RGB = 4
_WEBP = 16
"""Bytes of a pixel: libwebp keeps two frames, Pillow makes two copies."""
_COEFFICIENT = 2
_ROWS_PER_STRIP, _COMPRESSION, _RAW = 278, 259, 1
_JPEG = ("JPEG", "MPO")


def peak_bytes(image: Image.Image, encoded: int, shrink: int = 1) -> int:
    """Return the bytes that decoding an image to RGB takes at most.

    Args:
        image: An image whose header alone was read.
        encoded: Bytes of the encoded image, which is in memory, too.
        shrink: By what the sides of the result are divided.
    """
    pixels = image.width * image.height
    made = pixels // shrink**2 * _RGB
    decoded = pixels * _NARROW.get(image.mode, _RGB)
    if image.format in _JPEG:
        decoded = decoded // shrink**2 + _coefficients(image)
    elif image.format == "WEBP":
        decoded = pixels * _WEBP
    elif image.format == "TIFF":
        decoded += _strip(image)
    return encoded + decoded + made


def _coefficients(image: Any) -> int:
    """Return the bytes of a progressive JPEG's coefficients, all of which are kept."""
    if not image.info.get("progressive"):
        return 0
    shares = [across * down for _, across, down, _ in image.layer]
    return int(image.width * image.height * _COEFFICIENT * sum(shares) / max(shares))


def _strip(image: Any) -> int:
    """Return the bytes of a strip of a compressed TIFF, which is decoded as a whole."""
    rows = image.tag_v2.get(_ROWS_PER_STRIP, image.height)
    if image.tag_v2.get(_COMPRESSION, _RAW) == _RAW or not isinstance(rows, int):
        return 0
    return int(min(rows, image.height) * image.width * _RGB)
