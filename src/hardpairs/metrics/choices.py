"""Choices between a right and some wrong captions or images, as compositional benchmarks ask them.

An item has one image and several captions of which the first is right (SugarCrepe, ARO, VALSE), one
caption and several images, or two images and their two captions (Winoground, ColorSwap):

    text    each image is nearer to its caption than to any other caption of the item
    image   each caption is nearer to its image than to any other image of the item
    group   both

Equal scores count as the mean over their orders: half for a pair, a fifth for five captions alike.
A model that guesses, or gives all pairs one score, has exactly chance: of two images and captions
1/4, 1/4 and 1/6. Codes that take the first maximum give equal scores to the truth, which is listed
first, and count a score that nothing competes for: neither is done here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np


@dataclass(frozen=True)
class Credit:
    """A model's score of each of N items, from 0 to 1.

    Attributes:
        scores: (N,) float64 by name: ``text``, ``image`` and ``group``, those that are defined.
        tied: (N,) bool, items where an equal score decided.
    """

    scores: dict[str, np.ndarray]
    tied: np.ndarray


def choice_scores(
    images: np.ndarray, texts: np.ndarray, image_of: np.ndarray, text_of: np.ndarray
) -> np.ndarray:
    """Return the similarities within N items; those of the same two vectors are equal.

    Args:
        images: (A, D) float, unit rows.
        texts: (B, D) float, unit rows.
        image_of: (N, I) int64 rows of ``images``.
        text_of: (N, C) int64 rows of ``texts``.

    Returns:
        (N, I, C) float32.
    """
    scores = np.empty((len(image_of), image_of.shape[1], text_of.shape[1]), np.float32)
    for i in range(image_of.shape[1]):
        for c in range(text_of.shape[1]):
            # One loop for every pair: a matrix product may round equal pairs differently.
            scores[:, i, c] = np.einsum("nd,nd->n", images[image_of[:, i]], texts[text_of[:, c]])
    return scores


def credit(scores: np.ndarray) -> Credit:
    """Return what the scores of N items are worth.

    Args:
        scores: (N, I, C) similarities of I images and C captions. Image i and caption i belong
            together; I or C is 1, or both are 2.

    Raises:
        ValueError: Another number of images or captions, or a score is NaN.

    Example:
        >>> scores = np.array([[[0.9, 0.1], [0.2, 0.2]]])
        >>> {name: float(value[0]) for name, value in credit(scores).scores.items()}
        {'text': 0.5, 'image': 1.0, 'group': 0.5}
    """
    _, images, captions = scores.shape
    if images * captions < 2 or (min(images, captions) > 1 and (images, captions) != (2, 2)):
        raise ValueError(f"{images} images and {captions} captions are no choice known here")
    if np.isnan(scores).any():
        raise ValueError("scores are not numbers")
    found: dict[str, np.ndarray] = {}
    if captions > 1:
        found["text"] = np.prod([_first_of(scores[:, i], i) for i in range(images)], axis=0)
    if images > 1:
        columns = np.swapaxes(scores, 1, 2)
        found["image"] = np.prod([_first_of(columns[:, c], c) for c in range(captions)], axis=0)
    if len(found) == 2:
        found["group"] = _both_first(scores)
    tied = np.any([(value > 0) & (value < 1) for value in found.values()], axis=0)
    return Credit(found, np.asarray(tied))


def _first_of(scores: np.ndarray, own: int) -> np.ndarray:
    """Return the probability that an item comes first in a random order of equal scores.

    Args:
        scores: (N, K).
        own: Column of the item.
    """
    mine = scores[:, own, None]
    beaten = (scores > mine).any(axis=1)
    return np.where(beaten, 0.0, 1 / (scores == mine).sum(axis=1))


def _both_first(scores: np.ndarray) -> np.ndarray:
    """Return the probability that both right scores come before both wrong ones, for (N, 2, 2).

    Of a right and b wrong scores at the border, all right ones come first in one of (a + b over a)
    orders.
    """
    right = scores[:, [0, 1], [0, 1]]
    wrong = scores[:, [0, 1], [1, 0]]
    low, high = right.min(axis=1), wrong.max(axis=1)
    a = (right == low[:, None]).sum(axis=1)
    b = (wrong == high[:, None]).sum(axis=1)
    orders = np.array([[comb(i + j, i) for j in range(3)] for i in range(3)])
    return np.where(low > high, 1.0, np.where(low < high, 0.0, 1 / orders[a, b]))


def chance(images: int, captions: int) -> dict[str, float]:
    """Return the scores of a model that guesses, by name.

    Args:
        images: I, the number of images of an item.
        captions: C, the number of captions.

    Example:
        >>> chance(1, 5)
        {'text': 0.2}
    """
    same = credit(np.zeros((1, images, captions)))
    return {name: float(value[0]) for name, value in same.scores.items()}


def means_by_group(values: np.ndarray, groups: Sequence[str]) -> dict[str, tuple[float, int]]:
    """Return the mean of each group and its number of items, by the group's name.

    Args:
        values: (N,) float.
        groups: N names.

    Example:
        >>> means_by_group(np.array([1.0, 0.0, 1.0]), ["on", "on", "under"])
        {'on': (0.5, 2), 'under': (1.0, 1)}
    """
    names, number = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    counts = np.bincount(number, minlength=len(names))
    sums = np.bincount(number, weights=values, minlength=len(names))
    return {
        str(name): (float(total / count), int(count))
        for name, total, count in zip(names, sums, counts, strict=True)
    }


def macro_mean(by_group: dict[str, tuple[float, int]], at_least: int = 1) -> float | None:
    """Return the mean over groups; ``None`` where none is large enough.

    Args:
        by_group: From ``means_by_group``.
        at_least: Number of items that a group needs to count.
    """
    means = [mean for mean, count in by_group.values() if count >= at_least]
    return float(np.mean(means)) if means else None
