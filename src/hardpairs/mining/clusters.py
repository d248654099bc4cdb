"""Clusters of similar rows, and which clusters are compared with each other.

k-means over unit vectors of all modalities side by side, so that a product adds up the similarities
that make the score. Float32 products choose the nearest center and ordered float64 sums decide
where they are too close, as in the exact search. So clusters do not depend on blocks, threads or
processes.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from scipy.sparse import csr_matrix

from hardpairs.core.ranks import Ranks
from hardpairs.core.threads import in_parallel
from hardpairs.data.remote_rows import Rows
from hardpairs.mining.recall import ExactLists, estimated_share, sample_size
from hardpairs.mining.unit_vectors import write_unit_vectors

ROWS_PER_CLUSTER, MOST_CLUSTERS = 256, 4096
FITTED_PER_CLUSTER = 32
"""Rows of each cluster that its center is fitted to."""
ITERATIONS = 6
ROWS_AT_ONCE = 512
FIT_STREAM = 2
"""Tells the draw of the fitted rows from those of pools and samples, which have the same seed."""
GRID = 2.0**30
"""Similarities of centers are rounded to parts of this, far above what order a product sums in."""


@dataclass(frozen=True)
class Clusters:
    """Rows by cluster, and how near the clusters are.

    Clusters are numbered so that neighbors are similar: what one is compared with makes few ranges.

    Attributes:
        order: (M,) int64 row numbers, those of one cluster together.
        starts: (C + 1,) int64, where each cluster begins in ``order``, and M.
        need: (C, C) int32, symmetric: a and b are compared when more than ``need[a, b]`` clusters
            are probed. It is 0 for a cluster and itself.
    """

    order: np.ndarray
    starts: np.ndarray
    need: np.ndarray

    @property
    def count(self) -> int:
        """Return the number of clusters."""
        return len(self.need)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Return the rows of each cluster, (C,) int64."""
        return np.diff(self.starts)

    @cached_property
    def of_row(self) -> np.ndarray:
        """Return the cluster of each row number, (largest row number + 1,) int64."""
        clusters = np.full(int(self.order.max(initial=-1)) + 1, -1)
        clusters[self.order] = np.repeat(np.arange(self.count), self.sizes)
        return clusters

    def probes_for(self, target: float, sample: ExactLists) -> int:
        """Return the fewest probes that reach a recall, by bisection.

        Reached means that the lower end of the sample's 95 % interval is at least ``target``.
        Without such a number all clusters are probed, and the search is exact.

        Args:
            target: Recall to reach.
            sample: Exact lists of some rows.
        """
        listed = sample.indices >= 0
        wanted = listed.sum(axis=1)
        own = self.of_row[sample.rows][:, None]
        needs = self.need[own, self.of_row[sample.indices]]

        def reaches(probes: int) -> bool:
            found = (listed & (needs < probes)).sum(axis=1)
            return estimated_share(found, wanted, sample.population).low >= target

        if not wanted.any():
            return 1
        return 1 + bisect.bisect_left(range(1, self.count), True, key=reaches)


@dataclass(frozen=True)
class Probing:
    """Clusters, and how many of them each is compared with.

    Attributes:
        clusters: The rows by cluster.
        probes: Nearest clusters that each cluster is compared with, itself included. A cluster is
            also compared with those that probe it.
    """

    clusters: Clusters
    probes: int

    @property
    def is_exact(self) -> bool:
        """Tell whether all rows are compared."""
        return self.probes >= self.clusters.count

    def for_manifest(self) -> dict[str, float]:
        """Return the numbers of clusters and probes, and the share of pairs that are compared."""
        sizes = self.clusters.sizes.astype(float)
        pairs = float(sizes @ (self.clusters.need < self.probes) @ sizes)
        share = pairs / sizes.sum() ** 2
        return {"count": self.clusters.count, "probes": self.probes, "compared": share}

    def text(self, target: float) -> str:
        """Return in one line what a recall takes."""
        count = f"{self.clusters.count} clusters of rows"
        if self.is_exact:
            return f"{count}; no fewer reach a recall of {target:g}: all rows are compared"
        share = self.for_manifest()["compared"]
        return (
            f"{count}; for a recall of {target:g} each is compared with its {self.probes} nearest "
            f"ones: {share:.1%} of all pairs"
        )


def exact_because(rows: int, target: float) -> str | None:
    """Return why all rows are compared with each other, whatever their clusters.

    Two samples of S rows are compared with all N. From N = 4 S down, that is as many pairs as the
    N^2 / 2 of the exact search.

    Args:
        rows: Rows that are searched.
        target: Recall to reach.

    Returns:
        The reason, or ``None`` where clusters can save something.
    """
    size = sample_size(target)
    if rows < 2 * ROWS_PER_CLUSTER:
        return f"{rows} rows are too few for clusters: all of them are compared"
    if math.isinf(size):
        return "a recall of 1 takes all rows: all of them are compared"
    if rows <= 4 * size:
        return (
            f"a recall of {target:g} takes two samples of {size} rows to tell, which costs as much "
            f"as to compare all {rows} rows: all of them are compared"
        )
    return None


def make_clusters(
    embeddings: Mapping[str, Rows],
    rows: np.ndarray,
    seed: int,
    ranks: Ranks,
) -> Clusters:
    """Return the clusters of rows; several ranks share the work.

    Args:
        embeddings: (N, D) by name of the modality.
        rows: (M,) row numbers, ascending; at least two clusters of them.
        seed: Seed of the rows that centers are fitted to.
        ranks: This process and the others.
    """
    count = min(MOST_CLUSTERS, len(rows) // ROWS_PER_CLUSTER)
    centers = _fitted_centers(embeddings, rows, count, seed)
    own = rows[slice(*ranks.share(0, len(rows)))]
    blocks = np.split(own, range(ROWS_AT_ONCE, len(own), ROWS_AT_ONCE))
    nearest = in_parallel(lambda part: _nearest(_joined(embeddings, part), centers), blocks)
    cells = ranks.of_all(np.concatenate(nearest), len(rows))
    similarity = _similarities(centers)
    chain = _chain(similarity)
    number = np.argsort(chain)[cells]
    order = rows[np.argsort(number, kind="stable")]
    sizes = np.bincount(number, minlength=len(centers))
    starts = np.concatenate(([0], np.cumsum(sizes)))
    return Clusters(order, starts, _needs(similarity[np.ix_(chain, chain)]))


def _joined(embeddings: Mapping[str, Rows], numbers: np.ndarray) -> np.ndarray:
    """Return unit vectors of all modalities side by side, (n, sum of D) float32."""
    widths = [side.shape[1] for side in embeddings.values()]
    joined = np.empty((len(numbers), sum(widths)), np.float32)
    ends = np.cumsum(widths).tolist()
    for (name, side), width, end in zip(embeddings.items(), widths, ends, strict=True):
        write_unit_vectors(side, numbers, name, joined[:, end - width : end])
    return joined


def _fitted_centers(
    embeddings: Mapping[str, Rows], rows: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """Return (C, D) float32 unit centers, C at most ``count``: no two start in the same place."""
    generator = np.random.default_rng([seed, 0, FIT_STREAM])
    size = min(len(rows), count * FITTED_PER_CLUSTER)
    sample = generator.choice(rows, size, replace=False)
    fitted = _joined(embeddings, sample)
    centers = _unit(np.unique(fitted[:count], axis=0))
    blocks = np.split(fitted, range(ROWS_AT_ONCE, len(fitted), ROWS_AT_ONCE))
    for _ in range(ITERATIONS):
        nearest = np.concatenate(in_parallel(partial(_nearest, centers=centers), blocks))
        centers = _moved(centers, fitted, nearest)
    return centers


def _moved(centers: np.ndarray, rows: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Return the directions of the means of the rows nearest to each center.

    A center without rows stays.
    """
    sums = np.zeros(centers.shape)
    for start in range(0, len(rows), 16 * ROWS_AT_ONCE):
        part = nearest[start : start + 16 * ROWS_AT_ONCE]
        order = np.argsort(part, kind="stable")
        ends = np.concatenate(([0], np.cumsum(np.bincount(part, minlength=len(centers)))))
        member = csr_matrix((np.ones(len(part)), order, ends), (len(centers), len(part)))
        sums += member @ rows[start : start + len(part)].astype(np.float64)  # row by row
    moved, filled = centers.copy(), np.flatnonzero((sums != 0).any(axis=1))
    moved[filled] = _unit(sums[filled])
    return moved


def _unit(rows: np.ndarray) -> np.ndarray:
    """Return rows at unit length in float32, their squares added up from the first to the last."""
    rows = rows.astype(np.float64)
    unit: np.ndarray = (rows / np.sqrt(np.cumsum(rows**2, axis=1)[:, -1:])).astype(np.float32)
    return unit


def _nearest(rows: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return the center of the largest product of each row, the first of equal ones, (n,) int64."""
    products = (torch.from_numpy(rows) @ torch.from_numpy(centers).T).numpy()
    width = rows.shape[1]
    length = float(np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1).max(initial=0)))
    error = 1.01 * length * width * 2.0**-23  # twice the bound of a float32 sum of these products
    row, center = np.nonzero(products >= products.max(axis=1, keepdims=True) - 2 * error)
    counts = np.bincount(row, minlength=len(rows))
    several = np.flatnonzero(counts[row] > 1)
    exact = np.zeros(len(row))
    for start in range(0, len(several), ROWS_AT_ONCE):
        part = several[start : start + ROWS_AT_ONCE]
        terms = rows[row[part]].astype(np.float64) * centers[center[part]].astype(np.float64)
        exact[part] = np.cumsum(terms, axis=1)[:, -1]
    best = np.lexsort((center, -exact, row))
    nearest: np.ndarray = center[best][np.cumsum(counts) - counts]
    return nearest


def _similarities(centers: np.ndarray) -> np.ndarray:
    """Return the (C, C) products of all centers, rounded so that equal ones are equal."""
    wide = torch.from_numpy(centers.astype(np.float64))
    return np.round((wide @ wide.T).numpy() * GRID)


def _chain(similarity: np.ndarray) -> np.ndarray:
    """Return the clusters in an order in which each is followed by the most similar one left."""
    left = np.ones(len(similarity), bool)
    chain = [0]
    while len(chain) < len(similarity):
        left[chain[-1]] = False
        chain.append(int(np.argmax(np.where(left, similarity[chain[-1]], -np.inf))))
    return np.array(chain)


def _needs(similarity: np.ndarray) -> np.ndarray:
    """Return for each pair of clusters the smaller rank of one among the other's neighbors."""
    similarity = similarity.copy()
    np.fill_diagonal(similarity, np.inf)
    order = np.argsort(-similarity, axis=1, kind="stable")
    ranks = np.empty(order.shape, np.int32)
    np.put_along_axis(ranks, order, np.arange(len(order), dtype=np.int32)[None], axis=1)
    return np.minimum(ranks, ranks.T)
