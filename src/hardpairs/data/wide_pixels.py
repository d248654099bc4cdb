"""Gray pixels of more than 8 bits as 8 bits: scans, X-rays, spectrograms, depth maps."""

from __future__ import annotations

import numpy as np
from PIL import Image, TiffImagePlugin

_BLOCK_ROWS = 256
_USUAL_RANGES = ((0.0, 1.0), (0.0, 255.0))
_MIN_LEVELS = 16
"""Floating pixels with fewer levels in a usual range are stretched to their own range."""
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_SAMPLE_FORMAT, _UNSIGNED = 339, (None, (1,))


def is_wide(image: Image.Image) -> bool:
    """Return whether an image has integers of more than 8 bits, or floating pixels."""
    return image.mode.startswith("I") or image.mode == "F"


def gray_of_wide(image: Image.Image) -> Image.Image:
    """Return a gray image of 8 bits.

    Unsigned integers have the depth of the smallest even number of bits that holds the largest:
    8, 10, 12, ... Cameras and scanners put 10, 12 or 14 bits into 16. Floating pixels are read as
    of 0 to 1, or of 0 to 255, where that leaves 16 levels. All others are stretched: the smallest
    number becomes black, the largest white.

    Args:
        image: An image that ``is_wide``, loaded.

    Raises:
        ValueError: A pixel is infinite or not a number.
    """
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    pixels = np.asarray(image)
    if image.mode == "I" and tags and tags.get(_SAMPLE_FORMAT) in _UNSIGNED:
        pixels = pixels.view(np.uint32)  # Pillow has no mode for them
    black, white = _range(float(pixels.min()), float(pixels.max()), image.mode == "F")
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        black, white = white, black
    gray = np.empty(pixels.shape, np.uint8)
    for start in range(0, len(pixels), _BLOCK_ROWS):  # float64 of a whole image takes 512 MB
        rows = slice(start, start + _BLOCK_ROWS)
        gray[rows] = (pixels[rows] - np.float64(black)) * (255 / ((white - black) or 1))
    return Image.fromarray(gray)


def _range(low: float, high: float, is_floating: bool) -> tuple[float, float]:
    if not np.isfinite([low, high]).all():
        raise ValueError("a pixel is not finite")
    if is_floating:
        for start, end in _USUAL_RANGES:
            if start <= low and high <= end and (high - low) * 255 >= _MIN_LEVELS * (end - start):
                return start, end
        return low, high
    if low < 0:
        return low, high
    bits = max(int(high).bit_length(), 8)
    return 0.0, float(2 ** (bits + bits % 2) - 1)
