"""The options of mining: which pairs a list may hold, and how long it is.

A row goes down the other pairs by score, hardest first. Each of them is listed, or removed by the
first filter in ``REMOVED_BY`` that applies, until ``range_min + top_k`` have passed. The
**candidates** of the row are the pairs met on the way: those that outrank the last listed one or,
when the list stays short, all that score above 0 (and above what ``min_score`` or the floors allow
at all). A count therefore says how many pairs a filter took from ranks that they would have had,
and candidates = kept + removed, exactly. Pairs further down take no rank from another and are not
counted. Where ``min_score`` ends a list early, the pair that ended it counts as removed by it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardpairs.core.components import Options, option

if TYPE_CHECKING:
    import numpy as np

CROSS_MODAL = "cross-modal"
IVF = "ivf"
TARGET_RECALL = 0.95
METHODS = ("HPM", "image", "text", CROSS_MODAL)
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

SINGLE, PRODUCT, WEIGHTED, CROSS = range(4)
"""Kinds of scores: the first factor, the product, the powers 2w and 2 - 2w of both factors, or the
larger one of x_i.y_j and y_i.x_j."""

(
    LEAST,
    DUPLICATE_LIMIT,
    FLOOR_FIRST,
    FLOOR_SECOND,
    MAX_FIRST,
    MIN_FIRST,
    MAX_SECOND,
    MIN_SECOND,
    MAX_PRODUCT,
) = range(9)
"""Positions in the array that ``MiningOptions.limits`` returns."""

MANIFEST_NAMES = {"top_k": "topk", "method": "mining_method"}
"""Options that a table's manifest knows under the name of their flag."""


@dataclass(frozen=True)
class MiningOptions(Options):
    """Options that decide a table besides the embeddings.

    Similarities are cosines in [-1, 1], scores lie in [0, 1], and ``None`` turns a filter off.
    """

    duplicate_threshold: float = option(
        0.98, "leave out pairs with a similarity above it: near duplicates", above=0
    )
    similarity_floor: float = option(
        0.0, "tau: a similarity below it counts as 0", minimum=-1, maximum=1
    )
    max_image_score: float | None = option(
        None, "leave out pairs where the image similarity is above it", minimum=-1, maximum=1
    )
    min_image_score: float | None = option(
        None, "leave out pairs where the image similarity is below it", minimum=-1, maximum=1
    )
    max_text_score: float | None = option(
        None, "leave out pairs where the text similarity is above it", minimum=-1, maximum=1
    )
    min_text_score: float | None = option(
        None, "leave out pairs where the text similarity is below it", minimum=-1, maximum=1
    )
    max_score: float | None = option(
        None, "leave out pairs where the score is above it", minimum=-1, maximum=1
    )
    min_score: float | None = option(
        None, "leave out pairs where the score is below it", minimum=-1, maximum=1
    )
    absolute_margin: float | None = option(
        None, "leave out j where x_i.y_j or y_i.x_j > x_i.y_i - margin (one space only)"
    )
    relative_margin: float | None = option(
        None, "leave out j where x_i.y_j or y_i.x_j > (1 - margin) x_i.y_i (one space only)"
    )
    range_min: int = option(0, "first rank to list, from 0, after all filters", minimum=0)
    range_max: int | None = option(None, "first rank not to list any more", minimum=1)
    image_weight: float = option(
        0.5, "w in score = image^(2w) * text^(2 - 2w); HPM only", minimum=0, maximum=1
    )
    top_k: int = option(50, "hard pairs of each row", flag="--topk", minimum=1)
    method: str = option(
        "HPM",
        "similarities that make the score: both, one alone, or cross-modal: the nearest captions "
        "of the image and images of the caption (one space only)",
        flag="--mining-method",
        choices=METHODS,
    )
    noise_rule: str = option(
        "none",
        "paper: empty the list of a row with a zero score among its first K (HELIP, section 3.2)",
        choices=("none", "paper"),
    )
    approx: int | None = option(None, "search in a seeded random pool of this many rows", minimum=1)
    approx_targets: int | None = option(
        None, "targets that share a pool of `approx` rows, by default all", minimum=1
    )
    candidates: str = option(
        "all",
        "what a row is compared with: all rows, or ivf: those of the nearest clusters of rows",
        choices=("all", IVF),
    )
    target_recall: float | None = option(
        None,
        f"share of the exact hard pairs that ivf aims at, by default {TARGET_RECALL:g}",
        above=0,
        maximum=1,
    )
    seed: int = option(0, "seed of pools, samples and clusters", minimum=0)
    drop_nonfinite: bool = option(False, "leave out rows with NaN or infinity instead of stopping")

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for values that make no sense, alone or together."""
        super().__post_init__()
        other = {"image": "text", "text": "image"}.get(self.method)
        for name in (f"max_{other}_score", f"min_{other}_score") if other else ():
            if getattr(self, name) is not None:
                raise ValueError(
                    f"`{name}` needs the `method` HPM: {self.method!r} does not look at the "
                    f"{other} similarity"
                )
        if self.method != "HPM" and self.image_weight != 0.5:
            raise ValueError(f"`image_weight` needs the `method` HPM, not {self.method!r}")
        if self.approx_targets is not None and self.approx is None:
            raise ValueError("`approx_targets` needs `approx`, the rows of a pool")
        if self.target_recall is not None and self.candidates != IVF:
            raise ValueError("`target_recall` needs the `candidates` ivf, which it chooses")
        if self.candidates == IVF and self.approx is not None:
            raise ValueError(
                "`approx` compares rows with a pool, the `candidates` ivf with clusters: give one"
            )
        if self.range_max is not None and self.range_max <= self.range_min:
            raise ValueError(
                f"`range_min` must be below `range_max`, not {self.range_min} and {self.range_max}"
            )
        for name in ("absolute_margin", "relative_margin"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"`{name}` must be finite, not {value}")

    @classmethod
    def from_manifest(cls, stored: Mapping[str, Any]) -> MiningOptions:
        """Return the options that a table's manifest holds; absent ones have their defaults."""
        names = ((field.name, _manifest_name(field.name)) for field in dataclasses.fields(cls))
        return cls(**{name: stored[key] for name, key in names if key in stored})

    def for_manifest(self) -> dict[str, Any]:
        """Return the options under the names that a manifest uses."""
        return {_manifest_name(name): value for name, value in vars(self).items()}

    def check_widths(self, image: int, text: int) -> None:
        """Raise ``ValueError`` where image and text rows of different widths are compared."""
        if self.has_margin and self.method in ("image", "text"):
            raise ValueError(
                "a margin compares images with captions, so the `method` must be HPM or "
                f"{CROSS_MODAL}, not {self.method}"
            )
        if self.needs_one_space and image != text:
            raise ValueError(
                f"{self.compares} images with captions, so both must lie in one space; the "
                f"embeddings are {image} and {text} wide"
            )

    @property
    def has_margin(self) -> bool:
        """Tell whether a margin is on."""
        return self.absolute_margin is not None or self.relative_margin is not None

    @property
    def needs_one_space(self) -> bool:
        """Tell whether images are compared with captions."""
        return self.has_margin or self.method == CROSS_MODAL

    @property
    def compares(self) -> str:
        """Return the words of a message that say what compares images with captions."""
        method = self.method == CROSS_MODAL
        return f"the `method` {CROSS_MODAL} compares" if method else "a margin compares"

    @property
    def aimed_recall(self) -> float:
        """Return the share of the exact hard pairs that a search in clusters aims at."""
        return TARGET_RECALL if self.target_recall is None else self.target_recall

    @property
    def depth(self) -> int:
        """Return how many ranks of each list must be known."""
        return self.range_min + self.top_k

    @property
    def listed(self) -> slice:
        """Return the ranks that are listed, of those that must be known."""
        last = self.depth if self.range_max is None else min(self.range_max, self.depth)
        return slice(self.range_min, last)

    @property
    def mode(self) -> int:
        """Return SINGLE, PRODUCT, WEIGHTED or CROSS."""
        if self.method == CROSS_MODAL:
            return CROSS
        if self.method != "HPM":
            return SINGLE
        return PRODUCT if self.image_weight == 0.5 else WEIGHTED

    def limits(self) -> np.ndarray:
        """Return the thresholds as the kernel reads them: (9,) float64.

        The constants beside ``LEAST`` name the positions; first and second are the modalities.
        """
        import numpy as np  # not at the top: commands read the options before they parse

        low, high = -math.inf, math.inf
        modalities = {"image": ("image",), "text": ("text",)}.get(self.method, ("image", "text"))
        at_most, at_least, floors = [high, high], [low, low], [low, low]
        for i, modality in enumerate(modalities):
            at_most[i] = _or(getattr(self, f"max_{modality}_score"), high)
            at_least[i] = _or(getattr(self, f"min_{modality}_score"), low)
            floors[i] = self.similarity_floor if self.mode != CROSS else low
        bounds = (at_most[0], at_least[0], at_most[1], at_least[1], _or(self.max_score, high))
        least = self._least(floors, at_least)
        return np.array([least, self.duplicate_threshold, *floors, *bounds], np.float64)

    def _least(self, floors: list[float], at_least: list[float]) -> float:
        """Return a score below which no pair is kept."""
        if self.mode == CROSS:
            return max(0.0, self.similarity_floor, self.min_score or 0.0)
        first, second = (max(0.0, *both) for both in zip(floors, at_least, strict=True))
        if self.mode == SINGLE:
            product = first
        elif self.mode == PRODUCT:
            product = first * second
        else:  # a little lower than the product, since powers are rounded
            w = self.image_weight
            product = first ** (2 * w) * second ** (2 - 2 * w) * (1 - 2.0**-40)
        return max(0.0, product, self.min_score or 0.0)


def _manifest_name(name: str) -> str:
    return MANIFEST_NAMES.get(name, name)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
