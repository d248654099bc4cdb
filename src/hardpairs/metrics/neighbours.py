"""Exact nearest neighbours by cosine, and how often they are right."""

from __future__ import annotations

import numpy as np
import torch

AT_ONCE = 1 << 24
"""Similarities that are held at a time (float32)."""


def nearest(
    queries: np.ndarray, references: np.ndarray, k: int, *, euclidean: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` most similar references of each query; of equal ones the first come first.

    Args:
        queries (Q, D), references (R, D): float rows; unit rows for cosine.
        euclidean: by distance; the scores are then its negatives.

    Returns:
        indices (Q, k) int64 and scores (Q, k) float32, best first; k at most R.

    Raises:
        ValueError: NaN similarities.
    """
    k = min(k, len(references))
    columns = torch.from_numpy(np.ascontiguousarray(references, np.float32))
    indices, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    rows_at_once = max(1, AT_ONCE // max(len(references), 1))
    for start in range(0, len(queries), rows_at_once):
        rows = torch.from_numpy(
            np.ascontiguousarray(queries[start : start + rows_at_once], np.float32)
        )
        similar = (
            -torch.cdist(rows, columns, compute_mode="donot_use_mm_for_euclid_dist")
            if euclidean
            else rows @ columns.T
        )
        indices[start : start + len(rows)], scores[start : start + len(rows)] = _largest(similar, k)
    return indices, scores


def _largest(similar: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and values of the ``k`` largest of each row, descending; of equal ones the lower columns, which ``topk`` does not promise."""
    if not k:
        return np.empty((len(similar), 0), np.int64), np.empty((len(similar), 0), np.float32)
    least = similar.topk(k, dim=1).values[:, -1:]
    if similar.isnan().any():
        raise ValueError("similarities are not numbers")
    row, column = (
        torch.nonzero(similar >= least).numpy().T
    )  # k of each row, and what is equal to the last of them
    values = similar.numpy()[row, column]
    order = np.lexsort((-values, row))  # stable: equal ones stay by column
    first = np.searchsorted(row, np.arange(len(similar)))
    chosen = order[first[:, None] + np.arange(k)]
    return column[chosen], values[chosen]


def precision_at(
    labels: np.ndarray, reference_labels: np.ndarray, indices: np.ndarray, ks: tuple[int, ...]
) -> dict[str, float]:
    """``precision@k``: the mean share of the first k references with the query's label; ``hit@k``: the share of queries with at least one.

    Queries whose label no reference has are counted in ``without_match`` and otherwise left out.
    """
    right = reference_labels[indices] == labels[:, None]
    counted = np.isin(labels, reference_labels)
    found: dict[str, float] = {
        "queries": int(counted.sum()),
        "without_match": int((~counted).sum()),
    }
    for k in ks:
        if k <= indices.shape[1] and counted.any():
            found[f"precision@{k}"] = float(right[counted, :k].mean())
            found[f"hit@{k}"] = float(right[counted, :k].any(axis=1).mean())
    return found
