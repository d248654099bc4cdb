"""Exact nearest neighbours by cosine, and how often they are right."""

from __future__ import annotations

import numpy as np
import torch

ROWS_AT_ONCE = 1024


def nearest(queries: np.ndarray, references: np.ndarray, k: int, *, euclidean: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` most similar references of each query; of equal ones the first come first.

    Args:
        queries (Q, D), references (R, D): float rows; unit rows for cosine.
        euclidean: by distance; the scores are then its negatives.

    Returns:
        indices (Q, k) int64 and scores (Q, k) float32, best first; k at most R.
    """
    k = min(k, len(references))
    columns = torch.from_numpy(np.ascontiguousarray(references, np.float32))
    indices, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    for start in range(0, len(queries), ROWS_AT_ONCE):
        rows = torch.from_numpy(np.ascontiguousarray(queries[start : start + ROWS_AT_ONCE], np.float32))
        similar = -torch.cdist(rows, columns, compute_mode="donot_use_mm_for_euclid_dist") if euclidean else rows @ columns.T
        best, place = similar.sort(dim=1, descending=True, stable=True)
        indices[start : start + len(rows)], scores[start : start + len(rows)] = place[:, :k].numpy(), best[:, :k].numpy()
    return indices, scores


def precision_at(labels: np.ndarray, reference_labels: np.ndarray, indices: np.ndarray, ks: tuple[int, ...]) -> dict[str, float]:
    """``precision@k``: the mean share of the first k references with the query's label; ``hit@k``: the share of queries with at least one.

    Queries whose label no reference has are counted in ``without_match`` and otherwise left out.
    """
    right = reference_labels[indices] == labels[:, None]
    counted = np.isin(labels, reference_labels)
    found: dict[str, float] = {"queries": int(counted.sum()), "without_match": int((~counted).sum())}
    for k in ks:
        if k <= indices.shape[1] and counted.any():
            found[f"precision@{k}"] = float(right[counted, :k].mean())
            found[f"hit@{k}"] = float(right[counted, :k].any(axis=1).mean())
    return found
