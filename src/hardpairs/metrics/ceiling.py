"""The scores of a perfect model where captions repeat.

A caption such as "christmas tree" does not tell which of three images of trees is meant. Where the
data has it with each of them, all three are right. Where it has "Christmas Tree" with one, that is
another text to the data, and the same to a model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hardpairs.metrics.retrieval import TIES, chance_of_none, expected_reciprocal


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
    shared: np.ndarray, right: np.ndarray | None = None, *, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """Return the expected metrics of a model that ranks the images of every caption first.

    Captions that a model cannot tell apart are one query to it: it answers all of them with one
    order of their m images, of which each has some right ones. With one right image each, R@K =
    mean of min(K, m) / m and MRR = mean of H_m / m are therefore upper bounds, provided that no
    group counts one caption twice. A model could favor such a group, and the value is then an
    expectation.

    Args:
        shared: (Q,) from ``sharing``, by texts that a model cannot tell apart.
        right: (Q,) from ``sharing``, by equal texts, whose groups are right; ``None``: one each.
        ks: The K of each R@K.

    Returns:
        Fractions, by metric name.

    Example:
        >>> text_to_image_ceiling(np.array([1, 2, 2]))["text_to_image_R@1"]  # two are the same
        0.6666666666666666
    """
    return _means(_metrics(shared, right, ks, "expected"), "text_to_image")


def image_to_text_ceiling(
    shared: np.ndarray,
    text_groups: np.ndarray,
    image_groups: np.ndarray,
    right: np.ndarray | None = None,
    *,
    ks: Sequence[int] = (1, 5, 10),
    ties: str = "pessimistic",
) -> dict[str, float]:
    """Return the expected metrics of a perfect model for images that ask for captions.

    The best answer to an image is the caption of its group that is confused with the fewest wrong
    ones: they tie with it for every model.

    Args:
        shared: (T,) from ``sharing``, of the captions that are ranked.
        text_groups: (T,) group ids of the captions.
        image_groups: (I,) group ids of the images that ask; each group has a caption.
        right: (T,) as in ``text_to_image_ceiling``.
        ks: The K of each R@K.
        ties: How ties count, one of ``TIES``.

    Returns:
        Fractions, by metric name.

    Raises:
        ValueError: No query, or another word for ``ties``.
    """
    groups, position = np.unique(text_groups, return_inverse=True)
    of_images = np.searchsorted(groups, image_groups)
    best = {}
    for name, values in _metrics(shared, right, ks, ties).items():
        of_groups = np.zeros(len(groups))
        np.maximum.at(of_groups, position, values)
        best[name] = of_groups[of_images]
    return _means(best, "image_to_text")


def _metrics(
    shared: np.ndarray, right: np.ndarray | None, ks: Sequence[int], ties: str
) -> dict[str, np.ndarray]:
    """Return metrics of each query, whose first answers are equal: ``right`` of ``shared``."""
    if ties not in TIES or not len(shared):
        raise ValueError(f"a ceiling needs queries, and ties of {TIES}, not {ties!r}")
    right = np.ones_like(shared) if right is None else right
    wrong = shared - right
    if ties == "pessimistic":
        return {**{f"R@{k}": wrong < k for k in ks}, "MRR": 1 / (1 + wrong)}
    cases, position = np.unique(np.stack([wrong, right], axis=1), axis=0, return_inverse=True)
    values = {
        **{f"R@{k}": [1 - chance_of_none(k, w, r) for w, r in cases] for k in ks},
        "MRR": [expected_reciprocal(0, w, r) for w, r in cases],
    }
    return {name: np.array(of_cases)[position.ravel()] for name, of_cases in values.items()}


def _means(metrics: dict[str, np.ndarray], prefix: str) -> dict[str, float]:
    return {f"{prefix}_{name}": float(np.mean(values)) for name, values in metrics.items()}
