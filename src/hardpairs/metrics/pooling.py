"""Pooling of image and text into one vector: unit(w * image + (1 - w) * text).

CLIPPINGS (arXiv:2304.03464, section 3) uses the mean, w = .5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hardpairs.core.vectors import row_lengths, unit_rows

GRID = tuple(i / 10 for i in range(11))
"""Image weights that ``best_weight`` tries first."""
GOLDEN = (5**0.5 - 1) / 2
TOLERANCE = 0.01


def pooled(image: np.ndarray, text: np.ndarray, image_weight: float) -> np.ndarray:
    """Return pooled unit rows; a row whose parts cancel out is its image row.

    Args:
        image: (N, D) float, unit rows.
        text: (N, D) float, unit rows of the same space.
        image_weight: w, from 0 (text alone) to 1 (image alone).

    Returns:
        (N, D) float32 unit rows.

    Raises:
        ValueError: The weight is outside [0, 1], or the shapes differ.
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
    lengths = row_lengths(rows)[:, None]
    return np.where(lengths > 1e-6, unit_rows(rows), image).astype(np.float32)


def best_weight(
    score: Callable[[float], float], grid: Sequence[float] = GRID
) -> tuple[float, dict[float, float]]:
    """Search the weight with the highest score: a grid, then golden section around its best point.

    Golden section assumes one maximum between the best point's neighbors. With several it may miss
    the highest, and is never below the grid.

    Args:
        score: Returns the score of a weight.
        grid: Weights to try first, ascending.

    Returns:
        The weight (the middle one of the first run of equally good neighbors), and all scores by
        weight, ascending.
    """
    tried = {weight: score(weight) for weight in grid}
    best = list(grid).index(max(tried, key=lambda weight: tried[weight]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    while high - low > TOLERANCE:
        for weight in (left, right):
            if weight not in tried:
                tried[weight] = score(weight)
        # by GOLDEN's definition, an inner point of the old interval is one of the new one's two
        if tried[left] >= tried[right]:
            low, high, left, right = low, right, right - GOLDEN * (right - low), left
        else:
            low, high, left, right = left, high, right, left + GOLDEN * (high - left)
    tried = dict(sorted(tried.items()))
    weights, scores = list(tried), list(tried.values())
    first = last = scores.index(max(scores))
    while last + 1 < len(scores) and scores[last + 1] == scores[first]:
        last += 1
    middle = (weights[first] + weights[last]) / 2
    return min(weights[first : last + 1], key=lambda weight: abs(weight - middle)), tried
