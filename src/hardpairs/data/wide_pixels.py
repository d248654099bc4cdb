"""Gray pixels of more than 8 bits as 8 bits: scans, X-rays, spectrograms, depth maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, TiffImagePlugin

BLOCK_PIXELS = 1 << 18
"""Pixels that are looked at at once: a whole image as float64 takes 512 MB."""
_USUAL_RANGES = ((0.0, 1.0), (0.0, 255.0))
_MIN_LEVELS = 16
"""Floating pixels with fewer levels in a usual range are stretched to their own range."""
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_SAMPLE_FORMAT, _UNSIGNED = 339, (None, (1,))


def strips(image: Image.Image) -> Iterator[Image.Image]:
    """Yield an image from top to bottom in strips of an even number of rows, but for the last."""
    rows = max(2, BLOCK_PIXELS // image.width // 2 * 2)
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


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
    return gray_converter(image)(image)


def gray_converter(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """Return ``gray_of_wide`` for parts of an image, each as it is in the whole image.

    Args:
        image: An image that ``is_wide``, loaded.

    Raises:
        ValueError: A pixel is infinite or not a number.
    """
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    # Pillow has no mode for unsigned integers of 32 bits.
    is_unsigned = image.mode == "I" and tags and tags.get(_SAMPLE_FORMAT) in _UNSIGNED

    def blocks(part: Image.Image) -> Iterator[np.ndarray]:
        for strip in strips(part):
            pixels = np.asarray(strip)
            yield pixels.view(np.uint32) if is_unsigned else pixels

    ends = [(float(block.min()), float(block.max())) for block in blocks(image)]
    low, high = np.min(ends, axis=0)[0], np.max(ends, axis=0)[1]
    black, white = _range(float(low), float(high), image.mode == "F")
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        black, white = white, black

    def convert(part: Image.Image) -> Image.Image:
        gray, top = np.empty((part.height, part.width), np.uint8), 0
        for block in blocks(part):
            rows = slice(top, top + len(block))
            top += len(block)
            gray[rows] = (block - np.float64(black)) * (255 / ((white - black) or 1))
        return Image.fromarray(gray)

    return convert


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
