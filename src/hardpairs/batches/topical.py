"""``topical``: batches from one cluster of the stored embeddings, the rest random (CLIPSE)."""

from __future__ import annotations

import numpy as np

from hardpairs.batches.ordered import OrderedBatchSampler, dealt, sorted_by
from hardpairs.core.errors import usage


class TopicalBatchSampler(OrderedBatchSampler):
    """A share of the batches comes from one cluster each; every row once per epoch.

    CLIPSE draws a cluster for each batch and pays no heed to what was used before, so that an epoch misses rows. Here the clusters'
    shuffled rows are cut into pieces of a batch; the fullest pieces are the topical batches, filled up with random rows where a
    cluster is smaller than a batch, and what is left makes the random ones.

    Args:
        clusters: (N,) whole numbers, the cluster of each row; -1 for rows that belong to none.
        p_topical: share of the batches that are topical; exactly, not by chance.
        round_robin: the opposite: each batch has its part of every cluster (``p_topical`` is then not used). CLIPSE takes one row
            of each cluster in turn, which leaves the large clusters for the end; here the shares are even from the first batch on.
    """

    def __init__(
        self,
        num_samples: int,
        clusters: np.ndarray,
        *,
        p_topical: float = 0.5,
        round_robin: bool = False,
        **base,
    ) -> None:
        if len(clusters) != num_samples:
            raise ValueError(f"clusters of {len(clusters)} rows for {num_samples}")
        if not 0 <= p_topical <= 1:
            raise usage(f"--p-topical must lie in [0, 1], not {p_topical}")
        self.clusters, self.p_topical, self.round_robin = clusters, p_topical, round_robin
        super().__init__(num_samples, **base)

    def epoch_order(self, rng: np.random.Generator) -> np.ndarray:
        rows = self.rows.at(np.arange(len(self.rows), dtype=np.int32)).astype(np.int32)
        clusters = np.asarray(self.clusters)[rows]
        if self.round_robin:
            return rng.permutation(
                dealt(rows[sorted_by(clusters + 1, rng)], self.steps, self.global_batch_size)
            ).ravel()
        return topical_order(rows, clusters, self.global_batch_size, self.p_topical, rng)


def topical_order(
    rows: np.ndarray, clusters: np.ndarray, size: int, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Rows of an epoch, of which the batches of ``size`` are topical in the given share, in random order.

    Returns:
        (ceil(n / size) * size,), -1 in the places that no row is left for.
    """
    order = sorted_by(clusters + 1, rng)
    rows, clusters = rows[order], clusters[order]
    first = np.flatnonzero(np.r_[True, clusters[1:] != clusters[:-1]])
    place = np.arange(len(rows), dtype=np.int32) - np.repeat(
        first.astype(np.int32), np.diff(np.r_[first, len(rows)])
    )  # in its cluster
    starts = np.flatnonzero(place % size == 0)
    lengths = np.diff(np.r_[starts, len(rows)])
    steps = -(-len(rows) // size)
    preference = np.where(clusters[starts] >= 0, lengths, 0)
    chosen = np.lexsort((rng.random(len(starts)), -preference))[: round(share * steps)]
    batches = np.full((steps, size), -1, rows.dtype)
    is_topical = np.zeros(len(rows), bool)
    inside = np.arange(size) < lengths[chosen, None]  # (topical batches, size)
    from_cluster = (starts[chosen, None] + np.arange(size))[inside]
    batches[: len(chosen)][inside] = rows[from_cluster]
    is_topical[from_cluster] = True
    rest = rng.permutation(rows[~is_topical])
    batches.ravel()[np.flatnonzero(batches.ravel() < 0)[: len(rest)]] = rest
    return rng.permutation(batches).ravel()
