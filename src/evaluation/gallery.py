"""Queries against a gallery with labels: top-k accuracy, average precision, R-precision, and the score of a retrieval challenge."""

from __future__ import annotations

import numpy as np

SCORE_WEIGHTS = {1: 600.0, 5: 300.0, 10: 100.0}
"""Of top-1, top-5 and top-10 in the challenge that the loss comparison was made for; a perfect model has 1,000."""


def gallery_metrics(
    similarity: np.ndarray, labels: np.ndarray, gallery_labels: np.ndarray, *, weights: dict[int, float] | None = None
) -> dict[str, float]:
    """Means over the queries whose label the gallery has; others are counted. Equal similarities count against the model.

    Args:
        similarity: (Q, G), higher is nearer. labels (Q,), gallery_labels (G,): integers.

    Returns:
        ``top-k`` (share of queries with a right item among the first k), ``mAP`` over the whole gallery, ``R-precision`` (precision at as
        many places as there are right items), ``score``; shares are fractions.

    Raises:
        ValueError: NaN similarities.
    """
    weights = SCORE_WEIGHTS if weights is None else weights
    if np.isnan(similarity).any():
        raise ValueError("similarities are not numbers")
    right = labels[:, None] == gallery_labels[None, :]
    asked = np.flatnonzero(right.any(axis=1))
    found: dict[str, float] = {"queries": len(asked), "without_match": len(labels) - len(asked), "gallery": len(gallery_labels)}
    if not len(asked):
        return found
    hits = np.stack([right[query][np.lexsort((right[query], -similarity[query]))] for query in asked])
    total = hits.sum(axis=1)
    place = np.arange(1, hits.shape[1] + 1)
    precision = hits.cumsum(axis=1) / place
    for k in sorted({1, 5, 10, *weights}):
        found[f"top-{k}"] = float(hits[:, :k].any(axis=1).mean())
    found["mAP"] = float(((precision * hits).sum(axis=1) / total).mean())
    found["R-precision"] = float(precision[np.arange(len(hits)), total - 1].mean())
    found["score"] = float(sum(weight * found[f"top-{k}"] for k, weight in weights.items()))
    return found
