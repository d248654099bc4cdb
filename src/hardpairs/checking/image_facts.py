"""Facts of one encoded image."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from hardpairs.data.images import MISSING_FILE, UnreadableImage, can_read_heic, decode


@dataclass(frozen=True)
class ImageFacts:
    """Facts of one encoded image.

    Attributes:
        digest: SHA-256 of the encoded image; empty for one that cannot be read.
        reason: Why it is unreadable; empty where it is not.
        format: Pillow's name of the format.
        mode: Pillow's name of the kind of pixels, before they become RGB.
        width: Pixels.
        height: Pixels.
        is_plain: Whether all pixels have one color.
    """

    digest: bytes = b""
    reason: str = ""
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    is_plain: bool = False


def image_facts(read: Callable[[], bytes]) -> ImageFacts:
    """Read and decode an image.

    Args:
        read: Returns the encoded image, or raises OSError.
    """
    try:
        data = read()
    except OSError:
        return ImageFacts(reason=MISSING_FILE)
    digest = hashlib.sha256(data).digest()
    try:
        pixels = decode(data)
    except UnreadableImage as error:
        return ImageFacts(digest, reason=str(error))
    can_read_heic()
    with Image.open(io.BytesIO(data)) as image:
        found = (str(image.format), image.mode)
    is_plain = all(low == high for low, high in pixels.getextrema())  # type: ignore[misc]
    return ImageFacts(digest, "", *found, *pixels.size, is_plain)
