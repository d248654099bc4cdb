"""What a pair must satisfy to be listed, and the names under which what was left out is counted.

A row goes down its partners by score, hardest first. Each partner is listed, or removed by the first filter in ``REMOVED_BY`` that
applies, until ``range_min + top_k`` have passed. The **candidates** of the row are the partners met on the way: those that outrank its
last one, or, when the list stays short, all that score above 0 (and above what ``min_score`` or floors allow at all). So a count says
how many partners a filter took from the places they would have had, and candidates = kept + removed, exactly. Pairs further down are
in nobody's way and are not counted. Where ``min_score`` ends a list early, the partner that ended it counts as removed by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

METHODS = ("HPM", "image", "text")
REMOVED_BY = (
    "known_positive",
    "duplicate_threshold",
    "similarity_floor",
    "max_image_score",
    "min_image_score",
    "max_text_score",
    "min_text_score",
    "max_score",
    "margin",
    "min_score",
    "range",
)
"""In the order of the kernel's reasons from 1 on; the last two are applied to finished lists."""


@dataclass(frozen=True)
class Filters:
    """Thresholds on similarities (cosines in [-1, 1]) and on scores ([0, 1]); ``None`` is off.

    Attributes:
        duplicate_threshold: a pair with a similarity above it is a near duplicate.
        similarity_floor: tau; a factor below it counts as 0 (HELIP, section 3.2).
        max_image_score, min_image_score, max_text_score, min_text_score: limits on one modality's similarity.
        max_score, min_score: limits on the score.
        absolute_margin: a; j is left out when x_i.y_j or y_i.x_j exceeds x_i.y_i - a. Image and text must share one space.
        relative_margin: m; the same with (1 - m) x_i.y_i.
        range_min, range_max: ranks, from 0 and after all other filters, that are listed: range_min <= rank < range_max.
        image_weight: w; score = image^(2w) * text^(2 - 2w) of the two clamped similarities, 0.5 is their product.
    """

    duplicate_threshold: float = 0.98
    similarity_floor: float = 0.0
    max_image_score: float | None = None
    min_image_score: float | None = None
    max_text_score: float | None = None
    min_text_score: float | None = None
    max_score: float | None = None
    min_score: float | None = None
    absolute_margin: float | None = None
    relative_margin: float | None = None
    range_min: int = 0
    range_max: int | None = None
    image_weight: float = 0.5

    def check(self, method: str, widths: tuple[int, int]) -> None:
        """ValueError for options that make no sense, alone or with this method and these widths of image and text rows."""
        if method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, not {method!r}")
        if not -1 <= self.similarity_floor <= 1 or not self.duplicate_threshold > 0:
            raise ValueError(
                f"duplicate_threshold must be positive and similarity_floor in [-1, 1], not {self.duplicate_threshold} "
                f"and {self.similarity_floor}"
            )
        for name in (
            "max_image_score",
            "min_image_score",
            "max_text_score",
            "min_text_score",
            "max_score",
            "min_score",
        ):
            value = getattr(self, name)
            if value is not None and not -1 <= value <= 1:
                raise ValueError(f"{name} must lie in [-1, 1], not {value}")
        other = {"image": "text", "text": "image"}.get(method)
        if other and (
            getattr(self, f"max_{other}_score") is not None
            or getattr(self, f"min_{other}_score") is not None
        ):
            raise ValueError(
                f"method {method!r} does not look at the {other} similarity: max_{other}_score and min_{other}_score need HPM"
            )
        if not 0 <= self.image_weight <= 1 or (method != "HPM" and self.image_weight != 0.5):
            raise ValueError(
                f"image_weight must lie in [0, 1] and goes with HPM, not {self.image_weight} with {method}"
            )
        if self.range_min < 0 or (self.range_max is not None and self.range_max <= self.range_min):
            raise ValueError(
                f"ranks must satisfy 0 <= range_min < range_max, not {self.range_min} and {self.range_max}"
            )
        self._check_margins(method, widths)

    def _check_margins(self, method: str, widths: tuple[int, int]) -> None:
        for name in ("absolute_margin", "relative_margin"):
            value = getattr(self, name)
            if value is None:
                continue
            if not math.isfinite(value):
                raise ValueError(f"{name} must be finite, not {value}")
            if widths[0] != widths[1] or method != "HPM":
                raise ValueError(
                    f"{name} compares images with captions, so both must lie in one space and the method be HPM; the embeddings are "
                    f"{widths[0]} and {widths[1]} wide, the method is {method}"
                )

    @property
    def has_margin(self) -> bool:
        return self.absolute_margin is not None or self.relative_margin is not None

    def depth(self, top_k: int) -> int:
        """How far down each list must be known."""
        return self.range_min + top_k

    def limits(self, method: str) -> np.ndarray:
        """(9,) float64 as ``hardpairs.mining.kernel`` reads them: first modality, second modality, product."""
        low, high = -math.inf, math.inf
        sides = {"HPM": ("image", "text"), "image": ("image", None), "text": ("text", None)}[method]
        numbers = []
        for side in sides:
            at_most = getattr(self, f"max_{side}_score") if side else None
            at_least = getattr(self, f"min_{side}_score") if side else None
            numbers.append(
                (high if at_most is None else at_most, low if at_least is None else at_least)
            )
        floors = [self.similarity_floor, self.similarity_floor if sides[1] else low]
        return np.array(
            [
                self._least(method, floors, [at_least for _, at_least in numbers]),
                self.duplicate_threshold,
                *floors,
                *numbers[0],
                *numbers[1],
                high if self.max_score is None else self.max_score,
            ],
            np.float64,
        )

    def _least(self, method: str, floors: list[float], at_least: list[float]) -> float:
        """A score below which nothing is ever kept; a hair lower than the product of the floors where powers are rounded."""
        first, second = (
            max(0.0, floor, least) for floor, least in zip(floors, at_least, strict=True)
        )
        if method != "HPM":
            product = first
        elif self.image_weight == 0.5:
            product = first * second
        else:
            product = (
                first ** (2 * self.image_weight)
                * second ** (2 - 2 * self.image_weight)
                * (1 - 2.0**-40)
            )
        return max(0.0, product, self.min_score or 0.0)
