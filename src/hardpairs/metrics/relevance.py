"""Retrieval where a caption has many right images and an image many right captions.

ECCV Caption and CxC say for each query of COCO's test set what is right. With R right items:

    R-Precision = share of right items among the first R
    mAP@R       = 1/R * sum over right items at rank r <= R of (right items up to r) / r
    R@K         = share of queries with a right item among the first K

PMRP is R-Precision with the plausible matches of PCME as the right items.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from hardpairs.core.errors import non_finite
from hardpairs.metrics.retrieval import (
    BLOCK_ROWS,
    concatenate,
    positive_ranks,
    rank_scores,
    summarize,
)


def relevance_metrics(
    queries: np.ndarray,
    gallery: np.ndarray,
    relevant: csr_array,
    prefix: str,
    *,
    absent: np.ndarray | None = None,
    ks: Sequence[int] = (1, 5, 10),
    ties: str = "pessimistic",
) -> dict[str, float]:
    """Return metrics of ranking a gallery; means over the queries that have a right item.

    Args:
        queries: (Q, D) float, unit rows.
        gallery: (G, D) float, unit rows.
        relevant: (Q, G), not zero where an item is right for a query.
        prefix: Direction in front of the names, such as ``text_to_image``.
        absent: (Q,) number of right items of each query that the gallery lacks. They count in R and
            are never found.
        ks: The K of each R@K.
        ties: How equal scores count in R@K, ranks and MRR, as in ``retrieval.summarize``; in
            R-Precision, mAP@R and mAP@10 they always count against the model.

    Returns:
        Fractions, and ranks from 1, by name: those of ``retrieval.summarize``, ``R-Precision`` and
        ``mAP@R``.

    Raises:
        ValueError: The shapes do not fit, or no query has a right item.
        UserError: Exit 6, an embedding is not finite.
    """
    if relevant.shape != (len(queries), len(gallery)):
        raise ValueError(f"{relevant.shape} for {len(queries)} queries and {len(gallery)} items")
    if not (np.isfinite(queries).all() and np.isfinite(gallery).all()):
        raise non_finite(
            "embeddings are not finite", why="their ranks would mean nothing", fix="other weights"
        )
    items = np.asarray(gallery, np.float32).T
    lacking = np.zeros(len(queries), np.int64) if absent is None else absent
    asked = np.flatnonzero(np.diff(relevant.indptr) > 0)
    if not len(asked):
        raise ValueError("no query has a positive in the gallery")
    blocks, at_r = [], []
    for start in range(0, len(asked), BLOCK_ROWS):
        block = asked[start : start + BLOCK_ROWS]
        scores = np.asarray(queries[block], np.float32) @ items
        positive = relevant[block].toarray() != 0
        blocks.append(rank_scores(scores, positive))
        rows = zip(scores, positive, lacking[block].tolist(), strict=True)
        at_r += [precision_at_r(row, mask, more) for row, mask, more in rows]
    numbers = summarize(concatenate(blocks), prefix, ks=ks, ties=ties)
    precision, average = np.mean(at_r, axis=0)
    numbers[f"{prefix}_R-Precision"] = float(precision)
    numbers[f"{prefix}_mAP@R"] = float(average)
    return numbers


def precision_at_r(
    scores: np.ndarray, positive: np.ndarray, absent: int = 0
) -> tuple[float, float]:
    """Return R-Precision and mAP@R of one query; equal scores count against the model.

    Args:
        scores: (G,) higher is nearer.
        positive: (G,) bool, the right items.
        absent: Number of right items besides those.

    Example:
        >>> precision_at_r(np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False]))
        (0.5, 0.5)
    """
    ranks = positive_ranks(scores, positive)
    right = len(ranks) + absent
    found = ranks[ranks <= right]
    precisions = np.arange(1, len(found) + 1) / found
    return len(found) / right, float(precisions.sum()) / right
