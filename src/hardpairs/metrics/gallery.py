"""Queries against a gallery with labels: top-k accuracy, average precision, R-precision, and the score of a retrieval challenge."""

from __future__ import annotations

import numpy as np

SCORE_WEIGHTS = {1: 600.0, 5: 300.0, 10: 100.0}
"""Of top-1, top-5 and top-10 in the challenge that the loss comparison was made for; a perfect model has 1,000."""


ROWS_AT_ONCE = 512


def gallery_metrics(
    similarity: np.ndarray,
    labels: np.ndarray,
    gallery_labels: np.ndarray,
    *,
    weights: dict[int, float] | None = None,
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
    found = _means(
        _of_queries(
            similarity, labels[:, None] == gallery_labels[None, :], sorted({1, 5, 10, *weights})
        )
    )
    found["gallery"] = len(gallery_labels)
    if found["queries"]:
        found["score"] = float(sum(weight * found[f"top-{k}"] for k, weight in weights.items()))
    return found


def leave_one_out(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """``gallery_metrics`` without the score where each row is a query in its turn, and all others are its gallery.

    Args:
        embeddings: (N, D) unit rows. labels: (N,) integers.
    """
    return {**_means(per_row(embeddings, labels)), "gallery": len(embeddings) - 1}


def per_row(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """What ``leave_one_out`` takes the means of, (N,) each; names as in ``per_query``."""
    rows = np.asarray(embeddings, np.float32)
    parts = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        here = np.arange(start, min(start + ROWS_AT_ONCE, len(rows)))
        similarity, right = rows[here] @ rows.T, labels[here, None] == labels[None, :]
        similarity[np.arange(len(here)), here] = -np.inf  # itself: last, and wrong
        right[np.arange(len(here)), here] = False
        parts.append(_of_queries(similarity, right, [1, 5, 10]))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def per_query(
    similarity: np.ndarray, labels: np.ndarray, gallery_labels: np.ndarray
) -> dict[str, np.ndarray]:
    """What ``gallery_metrics`` takes the means of, (Q,) each: ``asked`` (the gallery has its label), ``top-k``, ``mAP``, ``R-precision``."""
    return _of_queries(similarity, labels[:, None] == gallery_labels[None, :], [1, 5, 10])


def _of_queries(similarity: np.ndarray, right: np.ndarray, ks: list[int]) -> dict[str, np.ndarray]:
    if np.isnan(similarity).any():
        raise ValueError("similarities are not numbers")
    ranks = [_ranks(row, hits) for row, hits in zip(similarity, right, strict=True)]
    first = np.array([places[0] if len(places) else np.inf for places in ranks])
    return {
        "asked": np.isfinite(first),
        **{f"top-{k}": (first <= k).astype(float) for k in ks},
        "mAP": np.array(
            [
                float((np.arange(1, len(places) + 1) / places).mean()) if len(places) else 0.0
                for places in ranks
            ]
        ),
        "R-precision": np.array(
            [float((places <= len(places)).mean()) if len(places) else 0.0 for places in ranks]
        ),
    }


def _ranks(similarity: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Ranks (from 1, ascending) of the right items of one query: after all wrong ones that are as similar or more.

    Example:
        >>> _ranks(np.array([0.9, 0.5, 0.5, 0.1]), np.array([False, True, False, True]))
        array([3, 4])
    """
    mine, others = (
        np.sort(similarity[right]),
        np.sort(similarity[~right]),
    )  # values alone: several times as fast as an order of all items
    ahead = len(others) - np.searchsorted(others, mine[::-1], side="left")
    return ahead + np.arange(1, len(mine) + 1)


def _means(queries: dict[str, np.ndarray]) -> dict[str, float]:
    asked = queries["asked"]
    found: dict[str, float] = {"queries": int(asked.sum()), "without_match": int((~asked).sum())}
    if asked.any():
        found |= {
            name: float(values[asked].mean()) for name, values in queries.items() if name != "asked"
        }
    return found
