"""Clusters of stored embeddings: k-means on unit vectors."""

from __future__ import annotations

import numpy as np
from scipy.cluster.vq import kmeans2

from hardpairs.core.vectors import unit_rows
from hardpairs.data.remote_rows import Rows

SAMPLE_PER_CLUSTER = 256
"""Rows per center that centers are fitted to, as in faiss; more do not move them noticeably."""
ITERATIONS = 20
BLOCK = 65_536
"""Rows that are assigned to centers at a time."""


def cluster(embeddings: Rows, count: int, seed: int = 0) -> np.ndarray:
    """Return the cluster of each embedding, by cosine.

    Centers are fitted by scipy's k-means (k-means++ start) to a seeded sample; then each row goes
    to its nearest center.

    Args:
        embeddings: (M, D) floating; read in blocks.
        count: Number of clusters, at most M.
        seed: Seed of the sample and of the start.

    Returns:
        (M,) int32.
    """
    rng = np.random.default_rng(seed)
    size = min(len(embeddings), count * SAMPLE_PER_CLUSTER)
    sample = np.sort(rng.choice(len(embeddings), size, replace=False))
    rows = unit_rows(embeddings[sample])
    centers, _ = kmeans2(rows, count, iter=ITERATIONS, minit="++", missing="warn", rng=rng)
    half_norms = (centers**2).sum(axis=1) / 2
    starts = range(0, len(embeddings), BLOCK)
    blocks = (unit_rows(embeddings[start : start + BLOCK]) for start in starts)
    nearest = [(block @ centers.T - half_norms).argmax(axis=1) for block in blocks]
    return np.concatenate(nearest).astype(np.int32)
