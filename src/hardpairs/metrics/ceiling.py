"""What a perfect model would score where captions repeat: "christmas tree" cannot say which of three photographs of trees is meant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hardpairs.metrics.retrieval import TIES


def folded(text: str) -> str:
    """What all captions that a model is taken not to tell apart have in common: letter case and spacing do not count.

    Example:
        >>> folded(" Christmas  tree")
        'christmas tree'
    """
    return " ".join(text.casefold().split())


def sharing(texts: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """In how many groups each query's text stands: (Q,) int64, 1 where it is nobody else's.

    Args:
        texts: (Q,) ids of texts, such as of their ``folded`` form.
        groups: (Q,) ids of what is right for them: the image, or the images that show one thing.
    """
    pairs = np.unique(np.stack([texts, groups], axis=1), axis=0)
    names, counts = np.unique(pairs[:, 0], return_counts=True)
    return counts[np.searchsorted(names, texts)]


def text_to_image_ceiling(
    shared: np.ndarray, *, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """Expected metrics of a model that ranks the images of every caption first, in an order that it can only guess; fractions.

    Equal captions are one query to a model: it answers all m of them with one order of the m images, so that their ranks are 1 to m,
    whatever the order. R@K = mean of min(K, m) / m and MRR = mean of H_m / m are therefore not passed by any model, so long as no group
    counts one caption twice (else a model may favour that group, and the value is an expectation).

    Args:
        shared: (Q,) from ``sharing``.

    Example:
        >>> text_to_image_ceiling(np.array([1, 2, 2]))["text_to_image_R@1"]  # two of three captions are the same
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
    """The same for images that ask for captions: the best answer to an image is the one of its captions that the fewest others share.

    Its m copies are equal items of the gallery, which tie whatever the model does, and count as ``ties`` says.

    Args:
        shared, text_groups: (T,) of the texts that are ranked. image_groups: (I,) of the images that ask; each has a text.
    """
    groups, place = np.unique(text_groups, return_inverse=True)
    fewest = np.full(len(groups), np.iinfo(np.int64).max)
    np.minimum.at(fewest, place, shared)
    return _metrics(fewest[np.searchsorted(groups, image_groups)], "image_to_text", ks, ties)


def _metrics(shared: np.ndarray, prefix: str, ks: Sequence[int], ties: str) -> dict[str, float]:
    if ties not in TIES or not len(shared):
        raise ValueError(f"a ceiling needs queries, and ties of {TIES}, not {ties!r}")
    if ties == "pessimistic":
        return {
            **{f"{prefix}_R@{k}": float(np.mean(shared <= k)) for k in ks},
            f"{prefix}_MRR": float(np.mean(1 / shared)),
        }
    harmonic = np.concatenate(([0.0], np.cumsum(1 / np.arange(1, shared.max() + 1))))
    recalls = {f"{prefix}_R@{k}": float(np.mean(np.minimum(k, shared) / shared)) for k in ks}
    return {**recalls, f"{prefix}_MRR": float(np.mean(harmonic[shared] / shared))}
