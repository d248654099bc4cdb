"""Single linkage by cosine distance: the whole tree once, any cut of it, and the best cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hardpairs.core.components import register
from hardpairs.core.vectors import rows_without_direction, unit_rows
from hardpairs.metrics.base import Metric, MetricInputs
from hardpairs.metrics.spanning import root_of, spanning_tree

MAX_DISTANCE = 2.0
"""The largest cosine distance."""


@register("linkage")
class BestCut(Metric):
    """The highest adjusted Rand index of all cuts of single linkage."""

    values = ("ari",)
    needs_labels = True

    def compute(self, inputs: MetricInputs) -> dict[str, float]:
        """Return ``ari``, at most 1, on the rows that have a label."""
        labels = np.unique(inputs.labels, return_inverse=True)[1]
        tree = single_linkage(inputs.joint[inputs.labeled])
        return {"ari": best_threshold(tree, labels)[1]}


@dataclass(frozen=True)
class Tree:
    """The merges of single linkage, nearest first.

    Attributes:
        left: (N - 1,) int64, a row of each merge.
        right: (N - 1,) int64, the row that it is joined to.
        heights: (N - 1,) float64, their cosine distances 1 - x.y, ascending.
    """

    left: np.ndarray
    right: np.ndarray
    heights: np.ndarray

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.heights) + 1

    def labels(self, threshold: float) -> np.ndarray:
        """Return the clusters after all merges up to ``threshold`` (inclusive).

        They are those of scikit-learn's DBSCAN(eps=threshold, min_samples=1, metric="cosine").

        Returns:
            (N,) int64, numbered by first row.
        """
        merged = self.heights <= threshold
        return components(len(self), self.left[merged], self.right[merged])


def components(count: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the connected components of a graph, numbered by first row.

    Args:
        count: N, the number of rows.
        left: (E,) int64, a row of each edge.
        right: (E,) int64, the other row.

    Returns:
        (N,) int64.
    """
    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(count, count))
    numbers = connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def single_linkage(embeddings: np.ndarray) -> Tree:
    """Build the exact tree, in O(N) memory beside float32 unit rows.

    Args:
        embeddings: (N, D) of any floating type and any length of rows.

    Raises:
        ValueError: There are no rows, or a row is zero or not finite.
    """
    rows = np.asarray(embeddings)
    if rows.ndim != 2 or not len(rows):
        raise ValueError(f"embeddings must be (N, D) with N > 0, not {rows.shape}")
    bad = rows_without_direction(rows)
    if len(bad):
        raise ValueError(f"embeddings are zero or not finite, the first in row {bad[0]}")
    edges = spanning_tree(unit_rows(rows))
    order = np.lexsort((edges.right, edges.left, -edges.similarity))
    # rounding may leave the distance of equal rows a little below 0
    heights = np.maximum(1 - edges.similarity[order], 0.0)
    return Tree(edges.left[order], edges.right[order], heights)


@dataclass(frozen=True)
class Cuts:
    """Agreement with labels at each of the C different cuts of a tree. Cut 0 merges nothing.

    Attributes:
        thresholds: (C,) float64, the least threshold that gives this cut, 0 for the first.
        clusters: (C,) int64, the number of clusters.
        ari: (C,) float64, adjusted Rand index of the labeled rows.
        precision: (C,) float64, of pairs of labeled rows; that of no pairs is 1.
        recall: (C,) float64, of pairs of labeled rows.
    """

    thresholds: np.ndarray
    clusters: np.ndarray
    ari: np.ndarray
    precision: np.ndarray
    recall: np.ndarray

    def best(self) -> tuple[float, float, float]:
        """Return (middle, from, to) of the widest range of thresholds with the highest ARI."""
        ends = np.append(self.thresholds[1:], MAX_DISTANCE)
        top = self.ari >= self.ari.max() - 1e-12
        starts = np.flatnonzero(top & ~np.append(False, top[:-1]))
        stops = np.flatnonzero(top & ~np.append(top[1:], False))
        widest = int(np.argmax(ends[stops] - self.thresholds[starts]))
        low, high = self.thresholds[starts[widest]], ends[stops[widest]]
        return float((low + high) / 2), float(low), float(high)

    def ari_at(self, thresholds: np.ndarray) -> np.ndarray:
        """Return the ARI at any (T,) thresholds of at least 0, (T,) float64."""
        return self.ari[np.searchsorted(self.thresholds, thresholds, side="right") - 1]


def all_cuts(tree: Tree, labels: np.ndarray) -> Cuts:
    """Return ARI, pair precision and pair recall at every cut.

    Each merge changes the counts of pairs a little: two clusters are joined by adding the label
    counts of the one with fewer labels to those of the other.

    Args:
        tree: A tree of N rows.
        labels: (N,) int64; rows with a negative label are merged, and not counted.
    """
    counts = [{int(label): 1} if label >= 0 else {} for label in labels]  # of a cluster, by root
    sizes = [len(own) for own in counts]
    parent = list(range(len(tree)))
    same_both = same_cluster = 0
    agreed, proposed = np.zeros(len(tree), np.int64), np.zeros(len(tree), np.int64)
    merges = zip(tree.left.tolist(), tree.right.tolist(), strict=True)
    for merge, (a, b) in enumerate(merges, start=1):
        a, b = root_of(parent, a), root_of(parent, b)
        if len(counts[a]) < len(counts[b]):
            a, b = b, a
        larger = counts[a]
        for label, count in counts[b].items():
            before = larger.get(label, 0)
            same_both += before * count
            larger[label] = before + count
        same_cluster += sizes[a] * sizes[b]
        sizes[a] += sizes[b]
        parent[b], counts[b] = a, {}
        agreed[merge], proposed[merge] = same_both, same_cluster
    heights = np.append(0.0, tree.heights)
    last = np.flatnonzero(np.append(np.diff(heights) > 0, True))  # of the merges of one height
    agreed, proposed = agreed[last], proposed[last]
    of_label = np.unique(labels[labels >= 0], return_counts=True)[1]
    same_label = int((of_label * (of_label - 1) // 2).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(proposed > 0, agreed / proposed, 1.0)
    return Cuts(
        thresholds=heights[last],
        clusters=len(tree) - last,
        ari=adjusted_rand(agreed, proposed, same_label, int(of_label.sum())),
        precision=precision,
        recall=agreed / same_label if same_label else np.ones(len(agreed)),
    )


def adjusted_rand(
    agreed: np.ndarray, proposed: np.ndarray, same_label: int, rows: int
) -> np.ndarray:
    """Return the adjusted Rand index (Hubert and Arabie 1985) from numbers of pairs of rows.

    Args:
        agreed: (C,) int64, pairs of one cluster and one label.
        proposed: (C,) int64, pairs of one cluster.
        same_label: Pairs of one label.
        rows: Number of rows.

    Returns:
        (C,) float64; 1 where both partitions are the same, trivial ones included, as in
        scikit-learn.
    """
    pairs = rows * (rows - 1) / 2
    agreed, proposed = np.asarray(agreed, np.float64), np.asarray(proposed, np.float64)
    expected = proposed * same_label / pairs if pairs else np.zeros(len(agreed))
    span = (proposed + same_label) / 2 - expected
    return np.where(span > 0, (agreed - expected) / np.where(span > 0, span, 1), 1.0)


def best_threshold(tree: Tree, labels: np.ndarray) -> tuple[float, float]:
    """Return the threshold with the highest ARI, and that ARI.

    The result is exact: ARI changes at merge heights alone, and all of them are tried. Of several
    best thresholds it is the middle of the widest range.

    Args:
        tree: A tree of N rows.
        labels: (N,) int64, as for ``all_cuts``.
    """
    cuts = all_cuts(tree, np.asarray(labels))
    return cuts.best()[0], float(cuts.ari.max())
