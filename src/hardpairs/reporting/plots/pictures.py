"""Pictures of a dataset as square pixels for figures."""

from __future__ import annotations

import numpy as np
from PIL import Image

from hardpairs.data.images import UnreadableImage, read_image
from hardpairs.data.samples import Samples

SIDE = 220
"""Pixels: what a picture of 1.1 inches has at the figures' resolution."""


def square(samples: Samples, row: int, side: int = SIDE) -> np.ndarray | None:
    """The whole picture of a row on a white square, (side, side, 3) uint8; ``None`` where it cannot be read."""
    try:
        image = read_image(samples, row)
    except UnreadableImage:
        return None
    scale = side / max(image.size)
    image = image.resize(
        [max(1, round(length * scale)) for length in image.size], Image.Resampling.LANCZOS
    )
    tile = Image.new("RGB", (side, side), "white")
    tile.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return np.asarray(tile)
