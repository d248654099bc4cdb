"""Compositional scenes: two colored shapes in a relation.

An example is "a red circle left of a blue square". Each scene is an ordered pair of different
objects, the first left of or above the second, and no two scenes of a list are the same. A caption
is therefore true of the images of its own scene and of no others. Hard pairs arise by themselves:
the same two objects swapped, in another relation, or with one color or shape changed.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

PHOTO_PIXELS = 64
_SUPERSAMPLING = 2

COLORS = {
    "red": (205, 40, 45),
    "blue": (45, 80, 200),
    "green": (40, 150, 70),
    "yellow": (240, 205, 50),
    "purple": (130, 60, 165),
    "orange": (240, 130, 30),
    "black": (35, 35, 40),
    "white": (250, 250, 250),
    "brown": (120, 75, 45),
    "pink": (245, 145, 185),
}
SIZES = {"large": 13.5, "small": 7.0, "": 11.0}
"""Radius in pixels of 64; no word when all objects have one size."""


@dataclass(frozen=True)
class Thing:
    """One object: a size word or none, a color, a shape."""

    size: str
    color: str
    shape: str

    def __str__(self) -> str:
        words = " ".join(word for word in (self.size, self.color, self.shape) if word)
        return f"an {words}" if words[0] in "aeiou" else f"a {words}"


@dataclass(frozen=True)
class Scene:
    """Two objects in a relation.

    Attributes:
        first: The object that is left of the other, or above it.
        second: The other object.
        sideways: Whether it is left of the other.
        mirrored: Whether the caption starts with the second object.
    """

    first: Thing
    second: Thing
    sideways: bool
    mirrored: bool

    @property
    def caption(self) -> str:
        """The text of the scene."""
        if self.mirrored:
            return f"{self.second} {'right of' if self.sideways else 'below'} {self.first}"
        return f"{self.first} {'left of' if self.sideways else 'above'} {self.second}"


def scenes(count: int, rng: np.random.Generator) -> list[Scene]:
    """Draw different scenes from the smallest set of objects with so many, for many near misses.

    Args:
        count: Number of scenes.
        rng: The random numbers.

    Raises:
        ValueError: ``count`` is above ``most_scenes()``.
    """
    if count > most_scenes():
        raise ValueError(f"{count} scenes asked for, {most_scenes()} can be made")
    with_sizes = count > _pairs(len(COLORS) * len(_OUTLINES))
    things = list(_things(("large", "small") if with_sizes else ("",)))
    things = things[: next(size for size in range(2, len(things) + 1) if _pairs(size) >= count)]
    ordered = list(itertools.permutations(range(len(things)), 2))
    picked = rng.permutation(_pairs(len(things)))[:count]
    mirrored = rng.random(count) < 0.5
    made = []
    for number, is_mirrored in zip(picked.tolist(), mirrored.tolist(), strict=True):
        first, second = ordered[number // 2]
        made.append(
            Scene(things[first], things[second], sideways=number % 2 == 0, mirrored=is_mirrored)
        )
    return made


def most_scenes() -> int:
    """Return the number of different scenes."""
    return _pairs(2 * len(COLORS) * len(_OUTLINES))


def draw(scene: Scene, rng: np.random.Generator) -> bytes:
    """Return one image of a scene as JPEG bytes.

    Paper, positions, sizes and JPEG quality vary; the content of the caption does not.

    Args:
        scene: The scene.
        rng: The random numbers.
    """
    side = PHOTO_PIXELS * _SUPERSAMPLING
    paper = tuple(int(value) for value in rng.integers(170, 225, 3))
    image = Image.new("RGB", (side, side), paper)
    draw = ImageDraw.Draw(image)
    # Centers are 28 to 34 pixels apart along the relation's axis and within 5 across it: objects of
    # radius 13.5 never overlap or leave the image, and no object is both "left of" and "above".
    apart, across = rng.uniform(28, 34) / 2, rng.uniform(-5, 5) / 2
    middle = PHOTO_PIXELS / 2 + rng.uniform(-1.5, 1.5, 2)
    for sign, thing in ((-1, scene.first), (1, scene.second)):
        shift = np.array([apart, across] if scene.sideways else [across, apart]) * sign
        radius = SIZES[thing.size] * rng.uniform(0.93, 1.0)
        outline = (np.array(_OUTLINES[thing.shape]) * radius + middle + shift) * _SUPERSAMPLING
        draw.polygon(
            [tuple(point) for point in outline.tolist()],
            fill=COLORS[thing.color],
            outline=(70, 70, 70),
        )
    buffer = io.BytesIO()
    image.reduce(_SUPERSAMPLING).save(buffer, "JPEG", quality=int(rng.integers(70, 95)))
    return buffer.getvalue()


def _pairs(things: int) -> int:
    return 2 * things * (things - 1)  # ordered pairs, sideways or upright


def _things(sizes: tuple[str, ...]) -> Iterator[Thing]:
    """Yield all objects; the first n of them use few colors and few shapes, grown evenly."""
    combinations = itertools.product(enumerate(COLORS), enumerate(_OUTLINES), sizes)
    by_shell = sorted(
        combinations, key=lambda item: (max(item[0][0], item[1][0]), item[0][0], item[1][0])
    )
    return (Thing(size, color, shape) for (_, color), (_, shape), size in by_shell)


def _star(points: int, inner: float, turn: float = -90.0) -> list[tuple[float, float]]:
    """Return an outline with alternating radii 1 and ``inner``, turned by degrees, y downwards."""
    angles = np.radians(turn + np.arange(2 * points) * 180 / points)
    radii = np.where(np.arange(2 * points) % 2 == 0, 1.0, inner)
    return list(
        zip((radii * np.cos(angles)).tolist(), (radii * np.sin(angles)).tolist(), strict=True)
    )


def _polygon(corners: int, turn: float = -90.0) -> list[tuple[float, float]]:
    return _star(corners, 1.0, turn)[::2]


_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "circle": _polygon(40),
    "square": _polygon(4, -45.0),
    "triangle": _polygon(3),
    "star": _star(5, 0.42),
    "cross": [
        (x / 3, y / 3)
        for x, y in (
            (-1, -3),
            (1, -3),
            (1, -1),
            (3, -1),
            (3, 1),
            (1, 1),
            (1, 3),
            (-1, 3),
            (-1, 1),
            (-3, 1),
            (-3, -1),
            (-1, -1),
        )
    ],
    "diamond": [(0.0, -1.0), (0.6, 0.0), (0.0, 1.0), (-0.6, 0.0)],
    "hexagon": _polygon(6, 0.0),
    "crescent": [
        *zip(
            np.cos(np.radians(np.arange(50, 311, 10))).tolist(),
            np.sin(np.radians(np.arange(50, 311, 10))).tolist(),
            strict=True,
        ),
        *zip(
            (0.45 + 0.78 * np.cos(np.radians(np.arange(280, 79, -10)))).tolist(),
            (0.78 * np.sin(np.radians(np.arange(280, 79, -10)))).tolist(),
            strict=True,
        ),
    ],
}
