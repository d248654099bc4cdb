"""How well clusters agree with labels: the usual numbers, from scikit-learn where it has them."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    normalized_mutual_info_score,
)
from sklearn.metrics.cluster import pair_confusion_matrix


def compare_clusters(labels: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """ARI, NMI, AMI; precision, recall and F1 of pairs; numbers and sizes of clusters.

    Args:
        labels, found: (N,) integers; rows with a negative label are not counted, but in the sizes.

    Returns:
        Shares are fractions. A precision of no pairs is 1, as is the recall of no pairs.
    """
    known = labels >= 0
    true, ours = labels[known], found[known]
    sizes = np.sort(np.unique(found, return_counts=True)[1])[::-1]
    numbers: dict[str, float] = {
        "rows": len(found),
        "clusters": len(sizes),
        "largest_cluster": int(sizes[0]),
        "singletons": int((sizes == 1).sum()),
    }
    if not len(true):
        return numbers
    (_, wrong), (missed, right) = pair_confusion_matrix(true, ours)
    precision = right / (right + wrong) if right + wrong else 1.0
    recall = right / (right + missed) if right + missed else 1.0
    return {
        "ari": float(adjusted_rand_score(true, ours)),
        "nmi": float(normalized_mutual_info_score(true, ours)),
        "ami": float(adjusted_mutual_info_score(true, ours)),
        "pair_precision": float(precision),
        "pair_recall": float(recall),
        "pair_f1": float(2 * precision * recall / (precision + recall))
        if precision + recall
        else 0.0,
        "labelled_rows": len(true),
        "labels": len(np.unique(true)),
        **numbers,
    }
