"""The scores of a perfect model where captions repeat.

A caption such as "christmas tree" does not tell which of three images of trees is meant.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hardpairs.metrics.retrieval import TIES


def folded(text: str) -> str:
    """Return a caption without letter case and extra spaces, which a model is taken not to see.

    Example:
        >>> folded(" Christmas  tree")
        'christmas tree'
    """
    return " ".join(text.casefold().split())


def sharing(text_ids: np.ndarray, group_ids: np.ndarray) -> np.ndarray:
    """Count the groups in which the text of each query occurs.

    Args:
        text_ids: (Q,) ids of texts, such as of their ``folded`` form.
        group_ids: (Q,) ids of the correct answers: an image, or the images that show one thing.

    Returns:
        (Q,) int64, 1 where no other group has the text.
    """
    pairs = np.unique(np.stack([text_ids, group_ids], axis=1), axis=0)
    ids, counts = np.unique(pairs[:, 0], return_counts=True)
    return counts[np.searchsorted(ids, text_ids)]


def text_to_image_ceiling(
    shared: np.ndarray, *, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """Return the expected metrics of a model that ranks the images of every caption first.

    Equal captions are one query to a model: it answers all m of them with one order of the m
    images, so that their ranks are 1 to m in any order. R@K = mean of min(K, m) / m and MRR = mean
    of H_m / m are therefore upper bounds, provided that no group counts one caption twice. A model
    could favor such a group, and the value is then an expectation.

    Args:
        shared: (Q,) from ``sharing``.
        ks: The K of each R@K.

    Returns:
        Fractions, by metric name.

    Example:
        >>> text_to_image_ceiling(np.array([1, 2, 2]))["text_to_image_R@1"]  # two are the same
        0.6666666666666666
    """
    return _metrics(shared, "text_to_image", ks, "expected")


def image_to_text_ceiling(
    shared: np.ndarray,
    text_groups: np.ndarray,
    image_groups: np.ndarray,
    *,
    ks: Sequence[int] = (1, 5, 10),
    ties: str = "pessimistic",
) -> dict[str, float]:
    """Return the expected metrics of a perfect model for images that ask for captions.

    The best answer to an image is the caption of its group that the fewest other groups share. Its
    m copies are equal items of the gallery, which tie for every model.

    Args:
        shared: (T,) from ``sharing``, of the captions that are ranked.
        text_groups: (T,) group ids of the captions.
        image_groups: (I,) group ids of the images that ask; each group has a caption.
        ks: The K of each R@K.
        ties: How ties count, one of ``TIES``.

    Returns:
        Fractions, by metric name.

    Raises:
        ValueError: No query, or another word for ``ties``.
    """
    groups, position = np.unique(text_groups, return_inverse=True)
    fewest = np.full(len(groups), np.iinfo(np.int64).max)
    np.minimum.at(fewest, position, shared)
    return _metrics(fewest[np.searchsorted(groups, image_groups)], "image_to_text", ks, ties)


def _metrics(shared: np.ndarray, prefix: str, ks: Sequence[int], ties: str) -> dict[str, float]:
    if ties not in TIES or not len(shared):
        raise ValueError(f"a ceiling needs queries, and ties of {TIES}, not {ties!r}")
    if ties == "pessimistic":
        recalls = {f"{prefix}_R@{k}": float(np.mean(shared <= k)) for k in ks}
        return {**recalls, f"{prefix}_MRR": float(np.mean(1 / shared))}
    harmonic = np.concatenate(([0.0], np.cumsum(1 / np.arange(1, shared.max() + 1))))
    recalls = {f"{prefix}_R@{k}": float(np.mean(np.minimum(k, shared) / shared)) for k in ks}
    return {**recalls, f"{prefix}_MRR": float(np.mean(harmonic[shared] / shared))}
