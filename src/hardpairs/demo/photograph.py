"""Photographs of stickers: drawings with a white rim, stuck on a surface and photographed by hand.

Everything is drawn from one generator per photograph, so that a photograph is a pure function of
(drawing, seed).
"""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image, ImageChops, ImageFilter

PHOTO_PIXELS = 64
_SUPERSAMPLING = 2
"""Photographs are composed at twice their size and averaged, so that warped edges stay smooth."""
_RIM_PIXELS = 7
"""Width of the die cut's white rim; the sticker has about 96 pixels."""
_MARGIN = _RIM_PIXELS + 1

MAX_ANGLE = 20.0
"""In degrees."""
SCALE_RANGE = (0.75, 1.0)
"""Side of the sticker as a share of the photograph's; drawings leave some of it empty."""
MAX_KEYSTONE = 0.06
"""Largest shift of a corner, as a share of the photograph's side."""
LIGHT_RANGE = (0.72, 1.12)
JPEG_QUALITY = (45, 92)


def cut_out(drawing: Image.Image) -> Image.Image:
    """Return a drawing (RGBa) with a white rim around its outline.

    The result is a square RGBa image, some pixels wider on each side.
    """
    side = drawing.width + 2 * _MARGIN
    sheet = Image.new("RGBa", (side, side))
    sheet.paste(drawing, (_MARGIN, _MARGIN))
    # Blurred and stepped up again: a round rim with soft edges, 25 times as quick as a maximum
    # filter of that width.
    rim = (
        sheet.getchannel("a")
        .filter(ImageFilter.GaussianBlur(0.6 * _RIM_PIXELS))
        .point(lambda value: min(255, 12 * value))
    )
    white = Image.merge("RGBa", (rim, rim, rim, rim))
    return _over(sheet, white)


def photograph(sticker: Image.Image, rng: np.random.Generator) -> bytes:
    """Return one photograph of a sticker as JPEG bytes, ``PHOTO_PIXELS`` square.

    Args:
        sticker: From ``cut_out``.
        rng: Random numbers for surface, angle, size, position, light and JPEG quality.
    """
    side = PHOTO_PIXELS * _SUPERSAMPLING
    placed = sticker.transform(
        (side, side),
        Image.Transform.PERSPECTIVE,
        _placement(sticker.width, side, rng),
        Image.Resampling.BILINEAR,
    )
    placed = placed.reduce(_SUPERSAMPLING)
    direction = rng.uniform(0, 2 * math.pi)  # where the light comes from
    shadow = ImageChops.offset(
        placed.getchannel("a").filter(ImageFilter.GaussianBlur(1.6)), *_offset(direction)
    )
    shade = np.asarray(shadow, np.float32)[..., None] * (rng.uniform(0.2, 0.45) / 255)
    layers = np.asarray(placed, np.float32)
    scene = _surface(rng) * (1 - shade) * (1 - layers[..., 3:] / 255) + layers[..., :3]
    scene = scene * _light(direction, rng) + rng.normal(0, rng.uniform(0.5, 3.0), scene.shape)
    image = Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(*JPEG_QUALITY)))
    return buffer.getvalue()


def _over(top: Image.Image, below: Image.Image) -> Image.Image:
    """Return top + below * (1 - alpha of top), for premultiplied colors."""
    holes = ImageChops.invert(top.getchannel("a"))
    bands = [
        ImageChops.add(t, ImageChops.multiply(b, holes))
        for t, b in zip(top.split(), below.split(), strict=True)
    ]
    return Image.merge("RGBa", bands)


def _placement(source: int, side: int, rng: np.random.Generator) -> list[float]:
    """Return the coefficients of PIL's PERSPECTIVE, from the photograph to the sticker."""
    half = rng.uniform(*SCALE_RANGE) / 2
    angle = math.radians(rng.uniform(-MAX_ANGLE, MAX_ANGLE))
    free = max(0.0, 0.5 - half * (abs(math.cos(angle)) + abs(math.sin(angle)) * 0.5))
    center = 0.5 + rng.uniform(-free, free, 2)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    corners = (
        np.array([[-half, -half], [half, -half], [half, half], [-half, half]]) @ turn.T + center
    )
    corners = (corners + rng.uniform(-MAX_KEYSTONE, MAX_KEYSTONE, (4, 2)) * half) * side
    return _homography(
        corners, np.array([[0, 0], [source, 0], [source, source], [0, source]], float)
    )


def _homography(output: np.ndarray, source: np.ndarray) -> list[float]:
    """Return the homography that maps four corners of the output to the source.

    Its eight numbers (a..h) give source = ((ax + by + c) / w, (dx + ey + f) / w), w = gx + hy + 1.
    """
    rows, values = [], []
    for (x, y), (u, v) in zip(output, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return [float(number) for number in np.linalg.solve(np.array(rows), np.array(values))]


def _offset(direction: float) -> tuple[int, int]:
    """Return the offset of the shadow: two pixels away from the light."""
    return round(-2 * math.cos(direction)), round(-2 * math.sin(direction))


def _surface(rng: np.random.Generator) -> np.ndarray:
    """Return paper, painted boards, squared paper or cloth, (side, side, 3) float32 in 0..255."""
    hue, depth = rng.uniform(0, 2 * math.pi), rng.uniform(8, 45)
    color = rng.uniform(130, 225) + depth * np.cos(hue + np.array([0.0, 2.1, 4.2]))
    texture = _TEXTURES[int(rng.integers(len(_TEXTURES)))](_along(rng.uniform(0, math.pi)), rng)
    return np.asarray(color + texture[..., None], np.float32)


def _along(angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Return pixel coordinates along and across a direction."""
    return math.cos(angle) * _X + math.sin(angle) * _Y, math.cos(angle) * _Y - math.sin(angle) * _X


def _paper(axes: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    return np.asarray(rng.normal(0, 3, _X.shape))


def _boards(axes: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    along, across = axes
    grain = 7 * np.sin(across * rng.uniform(0.5, 1.1) + 2 * np.sin(along * 0.07))
    gaps = np.mod(across + rng.uniform(0, 20), rng.uniform(14, 24)) < 1
    return np.asarray(grain - 30 * gaps)


def _squares(axes: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    step = rng.uniform(6, 12)
    lines = [np.mod(axis + rng.uniform(0, step), step) < 1 for axis in axes]
    return np.asarray(-22 * np.maximum(*lines).astype(float))


def _cloth(axes: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    weave = 6 * np.sin(2.2 * axes[0]) * np.sin(2.2 * axes[1])
    return np.asarray(weave + rng.normal(0, 5, _X.shape))


def _light(direction: float, rng: np.random.Generator) -> np.ndarray:
    """Return brightness, a gradient towards the light and a tint, as factors."""
    x, y = (_X - _CENTER) * math.cos(direction), (_Y - _CENTER) * math.sin(direction)
    falloff = (x + y) / _CENTER
    brightness = rng.uniform(*LIGHT_RANGE) + rng.uniform(0, 0.16) * falloff
    return np.asarray(brightness[..., None] * (1 + rng.uniform(-0.07, 0.07, 3)))


_Y, _X = np.mgrid[:PHOTO_PIXELS, :PHOTO_PIXELS].astype(np.float64)
_CENTER = (PHOTO_PIXELS - 1) / 2
_TEXTURES = (_paper, _boards, _squares, _cloth)
