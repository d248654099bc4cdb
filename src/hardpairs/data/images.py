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

from PIL import Image, ImageOps

from hardpairs.core.paths import RefusedFile
from hardpairs.data.image_memory import peak_bytes
from hardpairs.data.wide_pixels import gray_converter, gray_of_wide, is_wide, strips

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MISSING_FILE, NO_ANSWER = "missing_file", "no_answer"
HEIC_REASON = "heic_without_pillow_heif"
HEIC_HELP = "pip install pillow-heif"
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
MAX_PIXELS = 64_000_000
"""Larger images are refused from their header, before any decoding: 600 kB of PNG can hold 200
megapixels."""
MAX_ASPECT = 200
"""Images longer than this many times their width are refused. Scaled by its short side to a model's
input, an image of 1 x 5,000 pixels would be 224 x 1,120,000: 750 MB."""
HALVED_PIXELS = 16_000_000
"""Larger images are decoded at half their width and height: no model looks at so many pixels, and
a copy of 64 megapixels takes 256 MB."""
MAX_MEMORY = 290_000_000
"""Bytes that decoding one image may take, its encoded bytes included; what would take more is
refused from its header."""
_DARK = 16
"""Colors of 16 bits whose upper 8 are all below this have 12 bits or less, which Pillow drops."""


class UnreadableImage(ValueError):
    """An image that cannot be read or decoded.

    Its text is the reason: ``missing_file``, ``no_answer`` (of a server), ``not_a_file`` (a pipe or
    a device), ``too_large``, ``remote`` (a URL that was not allowed), ``unknown_url``,
    ``empty_image``, ``not_an_image``, ``truncated_image``, ``too_many_pixels``, ``too_narrow``,
    ``unsupported_pixels`` or ``heic_without_pillow_heif``.
    """


class HasImages(Protocol):
    """Encoded images by row number, as ``hardpairs.data.samples.Samples`` has them."""

    def image_bytes(self, i: int) -> bytes:
        """Return the encoded image of row i, or raise OSError."""

    def read_ahead(self, rows: Iterable[int]) -> None:
        """Begin to read the images of some rows, where that takes long."""


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
    read, rows = ReadImages([], [], {}), list(rows)
    samples.read_ahead(rows)
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
        UnreadableImage: The file cannot be read or decoded.
    """
    try:
        data = read()
    except ConnectionError as error:
        raise UnreadableImage(NO_ANSWER) from error
    except RefusedFile as error:
        raise UnreadableImage(error.reason) from error
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
    without metadata. Gray of more than 8 bits becomes 8 as in ``hardpairs.data.wide_pixels``. An
    image of more than ``HALVED_PIXELS`` is halved.

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
        shrink = 2 if image.width * image.height > HALVED_PIXELS else 1
        memory = peak_bytes(image, len(data), shrink)
        if image.width * image.height > MAX_PIXELS or memory > MAX_MEMORY:
            raise UnreadableImage("too_many_pixels")
        if max(image.size) > MAX_ASPECT * min(image.size):
            raise UnreadableImage("too_narrow")
        size = image.size
        if for_side is not None:
            image.draft(None, (for_side, for_side))
        elif shrink > 1:
            image.draft(None, (image.width // 2, image.height // 2))
        loses_bits = _has_wide_colors(image)
        try:
            image.load()
        except Exception:
            raise UnreadableImage("truncated_image") from None
        if loses_bits and max(high for _, high in _extrema(image)) < _DARK:
            raise UnreadableImage("unsupported_pixels")
        try:
            is_whole = shrink == 1 or image.size != size  # a JPEG is decoded at half its size
            return _to_rgb(_upright(image)) if is_whole else _upright(_halved_rgb(image))
        except ValueError:  # not finite, or of colors that Pillow cannot convert, such as CIE Lab
            raise UnreadableImage("unsupported_pixels") from None


def _halved_rgb(image: Image.Image) -> Image.Image:
    """Return an RGB image of half the width and height, made strip by strip."""
    half = Image.new("RGB", ((image.width + 1) // 2, (image.height + 1) // 2))
    convert = gray_converter(image) if is_wide(image) else _to_rgb
    top = 0
    for strip in strips(image):
        part = convert(strip).convert("RGB").reduce(2)
        half.paste(part, (0, top))
        top += part.height
    half.info.update(image.info)  # the orientation
    return half


def _has_wide_colors(image: Image.Image) -> bool:
    """Return whether Pillow takes the upper 8 of 16 bits of each color."""
    tiles = getattr(image, "tile", ())
    return not is_wide(image) and any(";16" in str(tile.args) for tile in tiles)


def _extrema(image: Image.Image) -> Iterable[tuple[float, float]]:
    found = image.getextrema()
    return found if isinstance(found[0], tuple) else (found,)


def _upright(image: Image.Image) -> Image.Image:
    with contextlib.suppress(Exception):  # a broken EXIF block says nothing about the pixels
        ImageOps.exif_transpose(image, in_place=True)  # not in place, it copies every image
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if is_wide(image):
        return gray_of_wide(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")
