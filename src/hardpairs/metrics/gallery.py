"""Labeled queries against a gallery: top-k accuracy, average precision, R-precision, a score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hardpairs.core.components import register
from hardpairs.metrics.base import Metric, MetricInputs
from hardpairs.metrics.retrieval import positive_ranks

SCORE_WEIGHTS = {1: 600.0, 5: 300.0, 10: 100.0}
"""Points for top-1, top-5 and top-10 in the challenge of the loss comparison; a perfect model has
1,000."""

BLOCK_ROWS = 512


@register("gallery")
class LeaveOneOut(Metric):
    """Retrieval by label among the rows themselves: each row asks all others."""

    values = ("top-1", "mAP", "R-precision")
    needs_labels = True

    def compute(self, inputs: MetricInputs) -> dict[str, float]:
        """Return the means over the rows whose label another row shares; fractions."""
        means = leave_one_out(inputs.joint[inputs.labeled], inputs.labels)
        return {name: means[name] for name in self.values if name in means}


def gallery_metrics(
    similarity: np.ndarray,
    labels: np.ndarray,
    gallery_labels: np.ndarray,
    *,
    weights: Mapping[int, float] = SCORE_WEIGHTS,
) -> dict[str, float]:
    """Return means over the queries whose label is in the gallery.

    Equal similarities count against the model. ``top-k`` is the share of queries with a correct
    item among the first k, ``R-precision`` the precision among the first R items, R being the
    number of correct ones, and ``mAP`` goes over the whole gallery.

    Args:
        similarity: (Q, G) float, higher is nearer.
        labels: (Q,) int64.
        gallery_labels: (G,) int64.
        weights: Points of the score by k of ``top-k``.

    Returns:
        Fractions, the ``score``, and counts: ``queries``, ``without_match``, ``gallery``.

    Raises:
        ValueError: A similarity is NaN.
    """
    correct = labels[:, None] == gallery_labels[None, :]
    means = _means(_by_query(similarity, correct, sorted({1, 5, 10, *weights})))
    means["gallery"] = len(gallery_labels)
    if means["queries"]:
        means["score"] = float(sum(points * means[f"top-{k}"] for k, points in weights.items()))
    return means


def leave_one_out(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return ``gallery_metrics`` without the score, where each row asks all other rows.

    Args:
        embeddings: (N, D) float, unit rows.
        labels: (N,) int64.
    """
    return {**_means(per_row(embeddings, labels)), "gallery": len(embeddings) - 1}


def per_row(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the values of which ``leave_one_out`` takes means, (N,) each.

    Args:
        embeddings: (N, D) float, unit rows.
        labels: (N,) int64.

    Returns:
        Arrays by name, as in ``per_query``.
    """
    rows = np.asarray(embeddings, np.float32)
    blocks = []
    for start in range(0, len(rows), BLOCK_ROWS):
        block = np.arange(start, min(start + BLOCK_ROWS, len(rows)))
        similarity, correct = rows[block] @ rows.T, labels[block, None] == labels[None, :]
        similarity[np.arange(len(block)), block] = -np.inf  # a row itself is last, and wrong
        correct[np.arange(len(block)), block] = False
        blocks.append(_by_query(similarity, correct, [1, 5, 10]))
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def per_query(
    similarity: np.ndarray, labels: np.ndarray, gallery_labels: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the values of which ``gallery_metrics`` takes means, (Q,) each.

    Args:
        similarity: (Q, G) float, higher is nearer.
        labels: (Q,) int64.
        gallery_labels: (G,) int64.

    Returns:
        ``asked`` (bool, whether the gallery has the label), ``top-k``, ``mAP``, ``R-precision``.
    """
    return _by_query(similarity, labels[:, None] == gallery_labels[None, :], [1, 5, 10])


def _by_query(similarity: np.ndarray, correct: np.ndarray, ks: list[int]) -> dict[str, np.ndarray]:
    if np.isnan(similarity).any():
        raise ValueError("similarities are not numbers")
    ranks = [positive_ranks(row, mask) for row, mask in zip(similarity, correct, strict=True)]
    first = np.array([own[0] if len(own) else np.inf for own in ranks])
    precision = [(np.arange(1, len(own) + 1) / own).mean() if len(own) else 0.0 for own in ranks]
    r_precision = [(own <= len(own)).mean() if len(own) else 0.0 for own in ranks]
    return {
        "asked": np.isfinite(first),
        **{f"top-{k}": (first <= k).astype(float) for k in ks},
        "mAP": np.array(precision, float),
        "R-precision": np.array(r_precision, float),
    }


def _means(queries: dict[str, np.ndarray]) -> dict[str, float]:
    asked = queries["asked"]
    counts: dict[str, float] = {
        "queries": int(asked.sum()),
        "without_match": int((~asked).sum()),
    }
    if not asked.any():
        return counts
    values = {name: array for name, array in queries.items() if name != "asked"}
    return counts | {name: float(array[asked].mean()) for name, array in values.items()}
