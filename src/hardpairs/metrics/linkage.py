"""Single linkage by cosine distance: the whole tree once, then any cut of it, and the best one by known labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hardpairs.metrics.spanning import BLOCK, root_of, spanning_tree

FARTHEST = 2.0
"""The largest cosine distance."""


@dataclass(frozen=True)
class Tree:
    """What single linkage merges, nearest first.

    Attributes:
        left, right: (N - 1,) int64 rows that a merge joins. heights: (N - 1,) float64 cosine distances 1 - x.y, ascending.
    """

    left: np.ndarray
    right: np.ndarray
    heights: np.ndarray

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.heights) + 1

    def labels(self, threshold: float) -> np.ndarray:
        """(N,) int64 clusters when merges up to ``threshold`` (inclusive) are made, numbered by first row.

        The same as scikit-learn's DBSCAN(eps=threshold, min_samples=1, metric="cosine").
        """
        made = self.heights <= threshold
        return components(len(self), self.left[made], self.right[made])


def components(count: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(N,) int64 clusters of rows that pairs join, numbered by first row."""
    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(count, count))
    found = connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def single_linkage(embeddings: np.ndarray) -> Tree:
    """The exact tree of N rows, in O(N) memory beside float32 unit rows.

    Args:
        embeddings: (N, D), any floating dtype; normalised here.

    Raises:
        ValueError: no rows, or rows that are zero or not finite.
    """
    edges = spanning_tree(unit_rows(embeddings))
    order = np.lexsort((edges.right, edges.left, -edges.similarity))
    heights = np.maximum(
        1 - edges.similarity[order], 0.0
    )  # equal rows: rounding may leave a little below 0
    return Tree(edges.left[order], edges.right[order], heights)


def unit_rows(embeddings: np.ndarray) -> np.ndarray:
    """(N, D) float32 rows of length 1."""
    rows = np.asarray(embeddings)
    if rows.ndim != 2 or not len(rows):
        raise ValueError(f"embeddings must be (N, D) with N > 0, not {rows.shape}")
    unit = np.empty(rows.shape, np.float32)
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK].astype(np.float64)
        lengths = np.linalg.norm(part, axis=1, keepdims=True)
        bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 1e-30)))
        if len(bad):
            raise ValueError(
                f"embeddings are zero or not finite, the first in row {start + bad[0]}"
            )
        unit[start : start + BLOCK] = part / lengths
    return unit


@dataclass(frozen=True)
class Cuts:
    """Agreement with labels at every cut that differs. Cut 0 merges nothing.

    Attributes:
        thresholds: (C,) float64, the least threshold that gives this cut (0 for the first). clusters: (C,) int64.
        ari, precision, recall: (C,) float64; of pairs of labelled rows (a precision of no pairs is 1).
    """

    thresholds: np.ndarray
    clusters: np.ndarray
    ari: np.ndarray
    precision: np.ndarray
    recall: np.ndarray

    def best(self) -> tuple[float, float, float]:
        """(threshold, from, to): the widest range of cuts with the highest ARI, and its middle."""
        ends = np.append(self.thresholds[1:], FARTHEST)
        top = self.ari >= self.ari.max() - 1e-12
        starts = np.flatnonzero(top & ~np.append(False, top[:-1]))
        stops = np.flatnonzero(top & ~np.append(top[1:], False))
        widest = int(np.argmax(ends[stops] - self.thresholds[starts]))
        low, high = self.thresholds[starts[widest]], ends[stops[widest]]
        return float((low + high) / 2), float(low), float(high)


def all_cuts(tree: Tree, labels: np.ndarray) -> Cuts:
    """ARI, pair precision and pair recall at every cut, from counts that each merge changes a little.

    Args:
        labels: (N,) integers; rows with a negative label are linked through, and not counted.
    """
    true = [
        {int(label): 1} if label >= 0 else {} for label in labels
    ]  # how often each label is in a cluster, by its root
    sizes = [len(counts) for counts in true]
    parent = list(range(len(tree)))
    together, found = 0, 0
    agreed, proposed = np.zeros(len(tree), np.int64), np.zeros(len(tree), np.int64)
    for merge, (a, b) in enumerate(
        zip(tree.left.tolist(), tree.right.tolist(), strict=True), start=1
    ):
        a, b = root_of(parent, a), root_of(parent, b)
        if len(true[a]) < len(true[b]):
            a, b = b, a
        large = true[a]
        for label, count in true[b].items():
            here = large.get(label, 0)
            together += here * count
            large[label] = here + count
        found += sizes[a] * sizes[b]
        sizes[a] += sizes[b]
        parent[b], true[b] = a, {}
        agreed[merge], proposed[merge] = together, found
    counts = np.unique(labels[labels >= 0], return_counts=True)[1]
    last = np.append(
        np.flatnonzero(np.diff(np.append(0.0, tree.heights)) > 0), len(tree) - 1
    )  # of merges of one height
    last = np.unique(last)
    return _cuts(
        tree,
        last,
        agreed[last],
        proposed[last],
        int((counts * (counts - 1) // 2).sum()),
        int(counts.sum()),
    )


def _cuts(
    tree: Tree, merges: np.ndarray, agreed: np.ndarray, proposed: np.ndarray, true: int, rows: int
) -> Cuts:
    thresholds = np.where(merges > 0, np.append(0.0, tree.heights)[merges], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(proposed > 0, agreed / proposed, 1.0)
    recall = agreed / true if true else np.ones(len(agreed))
    return Cuts(
        thresholds,
        len(tree) - merges,
        adjusted_rand(agreed, proposed, true, rows),
        precision,
        recall,
    )


def adjusted_rand(agreed: np.ndarray, proposed: np.ndarray, true: int, rows: int) -> np.ndarray:
    """Adjusted Rand index (Hubert and Arabie 1985) from numbers of pairs: in one cluster and one label, in one cluster, in one label.

    1 where both partitions are the same, trivial ones included, as scikit-learn has it.
    """
    pairs = rows * (rows - 1) / 2
    agreed, proposed = np.asarray(agreed, np.float64), np.asarray(proposed, np.float64)
    expected = proposed * true / pairs if pairs else np.zeros(len(agreed))
    room = (proposed + true) / 2 - expected
    return np.where(room > 0, (agreed - expected) / np.where(room > 0, room, 1), 1.0)


def best_threshold(tree: Tree, labels: np.ndarray) -> tuple[float, float]:
    """The threshold with the highest ARI (the middle of the widest range of such), and that ARI.

    Exact: ARI changes at merge heights alone, and all are looked at. Labels as for ``all_cuts``.
    """
    cuts = all_cuts(tree, np.asarray(labels))
    return cuts.best()[0], float(cuts.ari.max())
