"""Pictures and captions of strangers, made fit for a page: small, decoded and encoded anew, cleaned of what a browser might act on."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass

from PIL import Image

from hardpairs.data.images import UnreadableImage, decode
from hardpairs.data.samples import Samples

THUMBNAIL_PIXELS = 112
JPEG_QUALITY = 78
MAX_CAPTION = 160
"""Characters of a caption that are shown; some web captions are pages long."""

# Control characters, line and paragraph separators, marks that turn the direction of text, and halves of surrogate pairs.
_UNSHOWABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+"
)


@dataclass(frozen=True)
class Picture:
    """A row of a dataset as the page shows it; ``uri`` is empty where the image cannot be read."""

    row: int
    uri: str
    width: int
    height: int
    caption: str


def shown_text(text: str) -> str:
    """A text without control characters, cut to a length that one reads.

    Example:
        >>> shown_text("a\\u202ecat\\n")
        'a cat'
    """
    text = " ".join(_UNSHOWABLE.sub(" ", text).split())
    return text if len(text) <= MAX_CAPTION else text[: MAX_CAPTION - 1].rstrip() + "…"


def thumbnail(data: bytes, side: int = THUMBNAIL_PIXELS) -> tuple[str, int, int]:
    """(data URI, width, height) of encoded image bytes, never larger than ``side`` or than they are.

    Raises:
        UnreadableImage: the bytes are no usable image.
    """
    image = decode(data)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return (
        "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode(),
        image.width,
        image.height,
    )


class Album:
    """Pictures of a dataset by row; each is read once."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self._pictures: dict[int, Picture] = {}

    def picture(self, row: int) -> Picture:
        row = int(row)
        if row not in self._pictures:
            try:
                uri, width, height = thumbnail(self.samples.image_bytes(row))
            except (UnreadableImage, OSError):
                uri, width, height = "", THUMBNAIL_PIXELS, THUMBNAIL_PIXELS
            self._pictures[row] = Picture(row, uri, width, height, self.caption(row))
        return self._pictures[row]

    def caption(self, row: int) -> str:
        return shown_text(self.samples.caption(int(row)))
