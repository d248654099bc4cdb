"""Clusters of stored embeddings: k-means on unit vectors."""

from __future__ import annotations

import numpy as np
from scipy.cluster.vq import kmeans2

from hardpairs.core.vectors import unit_rows
from hardpairs.data.stacked import Stacked

SAMPLE_PER_CLUSTER = 256
"""Rows per centre that the centres are fitted to; more do not move them noticeably (faiss uses as many)."""
ITERATIONS = 20
BLOCK = 65_536


def cluster(embeddings: np.ndarray | Stacked, count: int, seed: int = 0) -> np.ndarray:
    """The cluster of each embedding, by cosine.

    Centres are fitted by scipy's k-means (k-means++ start) to a seeded sample, then each row goes to its nearest.

    Args:
        embeddings: (M, D) floating; read in blocks.
        count: number of clusters, at most M.

    Returns:
        (M,) int32.
    """
    rng = np.random.default_rng(seed)
    sample = np.sort(
        rng.choice(len(embeddings), min(len(embeddings), count * SAMPLE_PER_CLUSTER), replace=False)
    )
    centres, _ = kmeans2(
        unit_rows(embeddings[sample]), count, iter=ITERATIONS, minit="++", missing="warn", rng=rng
    )
    half_norms = (centres**2).sum(axis=1) / 2
    blocks = (embeddings[start : start + BLOCK] for start in range(0, len(embeddings), BLOCK))
    return np.concatenate(
        [(unit_rows(block) @ centres.T - half_norms).argmax(axis=1) for block in blocks]
    ).astype(np.int32)
