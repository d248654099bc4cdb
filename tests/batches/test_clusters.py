"""k-means of stored embeddings."""

import numpy as np

from hardpairs.batches.clusters import BLOCK, cluster


def test_clusters_of_directions():
    """Points on a circle in three bunches of different lengths of vectors."""
    rng = np.random.default_rng(0)
    angle = np.repeat([0, 2, 4], 50) + rng.normal(0, 0.1, 150)
    points = np.stack([np.cos(angle), np.sin(angle)], 1) * rng.uniform(0.1, 10, (150, 1))
    labels = cluster(points, 3)
    assert len(np.unique(labels)) == 3 and all(
        len(set(bunch)) == 1 for bunch in labels.reshape(3, 50).tolist()
    )
    assert (cluster(points, 3) == labels).all() and labels.dtype == np.int32


def test_rows_beyond_a_block_are_assigned_alike(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(50, 4))
    whole = cluster(rows, 3)
    assert len(rows) < BLOCK
    monkeypatch.setattr("hardpairs.batches.clusters.BLOCK", 7)
    assert np.array_equal(cluster(rows, 3), whole)
