"""Make images and captions of strangers fit for a page.

Images are decoded and encoded anew, and small; captions are cleaned of what a browser might act on.
"""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

from hardpairs.data.images import UnreadableImage, read_image
from hardpairs.data.samples import Samples

THUMBNAIL_PIXELS = 112
JPEG_QUALITY = 78
MAX_CAPTION = 160
"""Characters of a caption that are shown; some web captions are pages long."""

SQUARE_PIXELS = 220
"""Pixels that an image of 1.1 inches has at a figure's resolution."""

# Control characters, line and paragraph separators, marks that turn the direction of text, and
# halves of surrogate pairs.
_UNSHOWABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+"
)


@dataclass(frozen=True)
class ShownImage:
    """A row of a data set as a page shows it; ``uri`` is empty for an unreadable image."""

    row: int
    uri: str
    width: int
    height: int
    caption: str


def shown_text(text: str) -> str:
    r"""Return a text without control characters, cut to a length that one reads.

    Example:
        >>> shown_text("a\u202ecat\n")
        'a cat'
    """
    text = " ".join(_UNSHOWABLE.sub(" ", text).split())
    return text if len(text) <= MAX_CAPTION else text[: MAX_CAPTION - 1].rstrip() + "…"


def thumbnail(image: Image.Image, side: int = THUMBNAIL_PIXELS) -> tuple[str, int, int]:
    """Return an image as a small JPEG.

    Args:
        image: The image; it is made smaller in place.
        side: Pixels of the longer side at most; an image is never enlarged.

    Returns:
        (data URI, width, height).
    """
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    uri = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return uri, image.width, image.height


def square_pixels(samples: Samples, row: int, side: int = SQUARE_PIXELS) -> np.ndarray | None:
    """Return the whole image of a row on a white square.

    Args:
        samples: The data set.
        row: Its row.
        side: Pixels of the square's side.

    Returns:
        (side, side, 3) uint8; ``None`` for an unreadable image.
    """
    try:
        image = read_image(samples, int(row))
    except UnreadableImage:
        return None
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    image = image.resize((width, height), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (side, side), "white")
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return np.asarray(square)


class Album:
    """Images of a data set by row; each is read once."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self._images: dict[int, ShownImage] = {}

    def image(self, row: int) -> ShownImage:
        """Return the thumbnail and caption of a row."""
        row = int(row)
        if row not in self._images:
            try:
                uri, width, height = thumbnail(read_image(self.samples, row))
            except UnreadableImage:
                uri, width, height = "", THUMBNAIL_PIXELS, THUMBNAIL_PIXELS
            self._images[row] = ShownImage(row, uri, width, height, self.caption(row))
        return self._images[row]

    def caption(self, row: int) -> str:
        """Return the caption of a row, fit for a page."""
        return shown_text(self.samples.caption(int(row)))
