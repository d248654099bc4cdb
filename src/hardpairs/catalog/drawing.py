"""Drawings as square images on white."""

from __future__ import annotations

import importlib.util
import io
import math
import struct

from PIL import Image

from hardpairs.core.errors import usage

PNG = b"\x89PNG"
MAX_PIXELS = 16_000_000
WHITE = 250
"""Gray value from which a pixel counts as white."""


def check_renderer() -> None:
    """Refuse to go on where SVG files cannot be drawn (exit 2)."""
    if importlib.util.find_spec("resvg_py") is None:
        raise usage(
            "the package resvg_py, which draws SVG files, is not installed",
            fix="pip install 'openclip-hardpairs[catalog]'",
        )


def draw(drawing: bytes, side: int) -> tuple[bytes | None, str]:
    """Return a drawing as a PNG file of ``side`` x ``side`` pixels on white.

    Args:
        drawing: An SVG or PNG file of any shape; it is padded to a square. A PNG file loses its
            empty margin first; an SVG file has the frame that its author gave it.
        side: Height and width in pixels.

    Returns:
        The file and ``""``, or ``None`` and the reason why there is none. A renderer can fail
        without a sign: what comes out white is taken for a failure.
    """
    if drawing.startswith(PNG) and math.prod(struct.unpack(">II", drawing[16:24])) > MAX_PIXELS:
        return None, f"larger than {MAX_PIXELS // 10**6} megapixels"
    try:
        image = _raster(drawing, side)
    except (ValueError, OSError):
        return None, "cannot be drawn"
    flat = Image.new("RGB", (side, side), "white")
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    image = image.resize((width, height), Image.Resampling.LANCZOS).convert("RGBA")
    flat.paste(image, ((side - width) // 2, (side - height) // 2), image)
    gray = flat.convert("L")
    low, high = gray.getextrema()
    if low >= WHITE:  # type: ignore[operator]
        return None, "comes out white"
    if low == high:
        return None, "comes out as one color"
    out = io.BytesIO()
    (gray if _is_gray(flat) else flat).save(out, "PNG")
    return out.getvalue(), ""


def _raster(drawing: bytes, side: int) -> Image.Image:
    if not drawing.startswith(PNG):
        import resvg_py

        drawing = resvg_py.svg_to_bytes(
            svg_string=drawing.decode("utf-8"), width=side, skip_system_fonts=True
        )
        return _premultiplied(Image.open(io.BytesIO(drawing)))
    image = _premultiplied(Image.open(io.BytesIO(drawing)))
    return image.crop(_frame(image))


def _premultiplied(image: Image.Image) -> Image.Image:
    """Return an image in which no color under alpha 0 is seen when it is resized."""
    return image.convert("RGBA").convert("RGBa")


def _frame(image: Image.Image) -> tuple[int, int, int, int]:
    """Return the box of what is drawn on an empty or white page."""
    flat = Image.new("RGB", image.size, "white")
    flat.paste(image.convert("RGBA"), (0, 0), image.getchannel("a"))
    drawn = flat.convert("L").point([255 * (value < WHITE) for value in range(256)])
    return drawn.getbbox() or (0, 0, *image.size)


def _is_gray(image: Image.Image) -> bool:
    red, green, blue = image.split()
    return bool(red.tobytes() == green.tobytes() == blue.tobytes())
