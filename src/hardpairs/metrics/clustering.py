"""Agreement of clusters with labels: the usual numbers, from scikit-learn where it has them."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    normalized_mutual_info_score,
)
from sklearn.metrics.cluster import pair_confusion_matrix


def compare_clusters(labels: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """Return ARI, NMI, AMI, precision, recall and F1 of pairs, and the clusters' sizes.

    Args:
        labels: (N,) int64; rows with a negative label count in the sizes alone.
        clusters: (N,) int64 numbers of clusters.

    Returns:
        Fractions and counts by name; without labels the counts alone. A precision of no pairs is
        1, as is the recall of no pairs.
    """
    sizes = np.sort(np.unique(clusters, return_counts=True)[1])[::-1]
    counts: dict[str, float] = {
        "rows": len(clusters),
        "clusters": len(sizes),
        "largest_cluster": int(sizes[0]),
        "singletons": int((sizes == 1).sum()),
    }
    has_label = labels >= 0
    true, ours = labels[has_label], clusters[has_label]
    if not len(true):
        return counts
    (_, wrong), (missed, right) = pair_confusion_matrix(true, ours)
    precision = right / (right + wrong) if right + wrong else 1.0
    recall = right / (right + missed) if right + missed else 1.0
    both = precision + recall
    return {
        "ari": float(adjusted_rand_score(true, ours)),
        "nmi": float(normalized_mutual_info_score(true, ours)),
        "ami": float(adjusted_mutual_info_score(true, ours)),
        "pair_precision": float(precision),
        "pair_recall": float(recall),
        "pair_f1": float(2 * precision * recall / both) if both else 0.0,
        "labelled_rows": len(true),
        "labels": len(np.unique(true)),
        **counts,
    }
