"""Image and text as one vector, weighted: normalise(w * image + (1 - w) * text) (CLIPPINGS, arXiv 2304.03464, section 3; w = .5 is its mean)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

GRID = tuple(i / 10 for i in range(11))
GOLDEN = (5**0.5 - 1) / 2
TOLERANCE = 0.01


def pooled(image: np.ndarray, text: np.ndarray, image_weight: float) -> np.ndarray:
    """(N, D) float32 unit rows from unit rows of one space.

    A row whose parts cancel out is its image row.

    Raises:
        ValueError: a weight outside [0, 1], or rows of different widths.
    """
    if not 0 <= image_weight <= 1:
        raise ValueError(f"the image's weight must be in [0, 1], not {image_weight}")
    if image.shape != text.shape:
        raise ValueError(
            f"image and text rows must be of one space, not {image.shape} and {text.shape}"
        )
    rows = image_weight * np.asarray(image, np.float32) + (1 - image_weight) * np.asarray(
        text, np.float32
    )
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(lengths > 1e-6, rows / np.maximum(lengths, 1e-6), image).astype(np.float32)


def best_weight(
    score: Callable[[float], float], grid: Sequence[float] = GRID
) -> tuple[float, dict[float, float]]:
    """The weight with the highest score: a grid, then golden section between the best point's neighbours.

    Golden section assumes one hill between them; where there are more it may miss the highest, and is never below the grid.

    Returns:
        The weight (of equal ones that in the middle of the first run of neighbours), and all scores by weight, ascending.
    """
    tried = {weight: score(weight) for weight in grid}
    best = max(tried, key=lambda weight: tried[weight])
    place = list(grid).index(best)
    low, high = grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)]
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    while high - low > TOLERANCE:
        for weight in (left, right):
            if weight not in tried:
                tried[weight] = score(weight)
        if (
            tried[left] >= tried[right]
        ):  # the inner point of the old interval is one of the new one's two, by GOLDEN's definition
            low, high, left, right = low, right, right - GOLDEN * (right - low), left
        else:
            low, high, left, right = left, high, right, left + GOLDEN * (high - left)
    tried = dict(sorted(tried.items()))
    top = max(tried.values())
    weights = list(tried)
    first = next(i for i, weight in enumerate(weights) if tried[weight] == top)
    last = first
    while last + 1 < len(weights) and tried[weights[last + 1]] == top:
        last += 1
    middle = (weights[first] + weights[last]) / 2
    return min(weights[first : last + 1], key=lambda weight: abs(weight - middle)), tried
