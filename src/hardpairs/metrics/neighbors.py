"""Exact nearest neighbors by cosine similarity, and the precision of the links to them."""

from __future__ import annotations

import numpy as np
import torch

BLOCK_SIMILARITIES = 1 << 24
"""Similarities (float32) in memory at once."""


def nearest(
    queries: np.ndarray, references: np.ndarray, k: int, *, euclidean: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``k`` most similar references of each query; equal ones in their order.

    Args:
        queries: (Q, D) float; unit rows for cosine similarity.
        references: (R, D) float.
        k: Number of neighbors; at most R are returned.
        euclidean: Whether to compare by Euclidean distance; the scores are then its negatives.

    Returns:
        Indices (Q, k) int64 and scores (Q, k) float32, best first.

    Raises:
        ValueError: A similarity is NaN.
    """
    k = min(k, len(references))
    columns = torch.from_numpy(np.ascontiguousarray(references, np.float32))
    indices, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    height = max(1, BLOCK_SIMILARITIES // max(len(references), 1))
    for start in range(0, len(queries), height):
        block = slice(start, start + height)
        rows = torch.from_numpy(np.ascontiguousarray(queries[block], np.float32))
        similar = (
            -torch.cdist(rows, columns, compute_mode="donot_use_mm_for_euclid_dist")
            if euclidean
            else rows @ columns.T
        )
        indices[block], scores[block] = _largest(similar, k)
    return indices, scores


def _largest(similar: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return columns and values of the ``k`` largest entries of each row, descending.

    Of equal entries the lower columns come first, which ``topk`` does not promise.
    """
    if not k:
        return np.empty((len(similar), 0), np.int64), np.empty((len(similar), 0), np.float32)
    least = similar.topk(k, dim=1).values[:, -1:]
    if similar.isnan().any():
        raise ValueError("similarities are not numbers")
    # k of each row, and all that equal the last of them
    row, column = torch.nonzero(similar >= least).numpy().T
    values = similar.numpy()[row, column]
    order = np.lexsort((-values, row))  # stable: equal ones stay by column
    first = np.searchsorted(row, np.arange(len(similar)))
    chosen = order[first[:, None] + np.arange(k)]
    return column[chosen], values[chosen]


def precision_at(
    labels: np.ndarray, reference_labels: np.ndarray, indices: np.ndarray, ks: tuple[int, ...]
) -> dict[str, float]:
    """Return the precision of links from queries to references.

    ``precision@k`` is the mean share of the first k references with the query's label, ``hit@k``
    the share of queries with at least one.

    Args:
        labels: (Q,) int64.
        reference_labels: (R,) int64.
        indices: (Q, K) int64 from ``nearest``.
        ks: The k to report; those above K are left out.

    Returns:
        Fractions and counts by name. Queries whose label no reference has are counted in
        ``without_match``, and left out otherwise.
    """
    correct = reference_labels[indices] == labels[:, None]
    counted = np.isin(labels, reference_labels)
    numbers: dict[str, float] = {
        "queries": int(counted.sum()),
        "without_match": int((~counted).sum()),
    }
    for k in ks:
        if k <= indices.shape[1] and counted.any():
            numbers[f"precision@{k}"] = float(correct[counted, :k].mean())
            numbers[f"hit@{k}"] = float(correct[counted, :k].any(axis=1).mean())
    return numbers
