"""The exact maximum spanning tree of the similarities of N rows, without an N x N array.

1. A first tree. Rows are cut into blocks of similar ones in a few ways. The dense spanning trees of
   the blocks, joined, span all rows.
2. One pass over all pairs. A pair belongs to the exact tree only if it is more similar than the
   weakest edge on the path between its rows in the first tree (the cycle property). With rows in
   the order in which that tree merges them, the weakest edge between two rows is the least of the
   *gaps* between them. The limits of a block of pairs are therefore outer minima of two vectors,
   compared while the block is in cache.
3. The tree of the first tree's edges and of the pairs that passed is exact.

Similarities that choose pairs are float32 products within a proven error bound, or float64 ones
where rows are so alike that most float32 products would pass. Those that decide are float64 sums
over the float32 unit rows.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

BLOCK = 2048
ROUNDS = 3
"""Ways to cut the rows for the first tree. With more of them fewer pairs pass the limits."""
PENDING = 1 << 20
"""Pairs that may wait before the tree takes them in."""
ALIKE = 1 - 1e-4
"""Similarity of rows whose float32 products hardly tell which are nearer: a collapsed embedding."""
MANY = 1 / 64
"""Share of a block's pairs above which a float64 product of the block is cheaper than the pairs'
own sums."""


@dataclass(frozen=True)
class Edges:
    """E pairs of rows.

    Attributes:
        left: (E,) int64, a row of each pair.
        right: (E,) int64, the other row.
        similarity: (E,) float64.
    """

    left: np.ndarray
    right: np.ndarray
    similarity: np.ndarray


def spanning_tree(unit: np.ndarray, seed: int = 0) -> Edges:
    """Return the N - 1 edges of a maximum spanning tree of x_i . x_j.

    Equal similarities leave a choice of edges, never of similarities.

    Args:
        unit: (N, D) float32, unit rows.
        seed: Seed of the first tree; the similarities do not depend on it.
    """
    kept, equal = _distinct(unit)
    rows = unit[kept] if len(equal.left) else unit
    tree = _exact_tree(rows, _first_tree(rows, seed))
    return _concatenate(Edges(kept[tree.left], kept[tree.right], tree.similarity), equal)


def _distinct(unit: np.ndarray) -> tuple[np.ndarray, Edges]:
    """Return the first row of each set of equal rows, and edges from it to the others.

    Many equal rows would all pass every limit.
    """
    whole_row = [("row", np.void, unit.itemsize * unit.shape[1])]
    rows = np.ascontiguousarray(unit).view(whole_row).ravel()
    _, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    other = np.flatnonzero(first[inverse] != np.arange(len(unit)))
    return np.sort(first), with_similarity(unit, first[inverse[other]], other)


def with_similarity(unit: np.ndarray, left: np.ndarray, right: np.ndarray) -> Edges:
    """Return edges with their float64 similarities.

    Args:
        unit: (N, D) float32, unit rows.
        left: (E,) int64, a row of each edge.
        right: (E,) int64, the other row.
    """
    similarity = np.empty(len(left))
    for start in range(0, len(left), 4096):
        block = slice(start, start + 4096)
        a, b = (unit[side[block]].astype(np.float64) for side in (left, right))
        similarity[block] = np.einsum("ij,ij->i", a, b)
    return Edges(left, right, similarity)


def _concatenate(*parts: Edges) -> Edges:
    return Edges(
        np.concatenate([part.left for part in parts]),
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.similarity for part in parts]),
    )


def _tree_of(edges: Edges, count: int) -> Edges:
    """Return the maximum spanning forest of a graph."""
    low, high = np.minimum(edges.left, edges.right), np.maximum(edges.left, edges.right)
    _, once = np.unique(low * count + high, return_index=True)  # scipy would add up repeated edges
    distance = 2 - edges.similarity[once]  # above 0, since scipy drops zeros
    graph = coo_array((distance, (low[once], high[once])), shape=(count, count))
    tree = minimum_spanning_tree(graph.tocsr()).tocoo()
    return Edges(tree.row.astype(np.int64), tree.col.astype(np.int64), 2 - tree.data)


def _first_tree(unit: np.ndarray, seed: int) -> Edges:
    """Return a good spanning tree, from blocks of rows that are neighbors in some order.

    The orders are cells of random pivots, and then also the tree's own, shifted by half a block.
    """
    count = len(unit)
    rng = np.random.default_rng(seed)
    order, tree = _by_pivots(unit, rng), Edges(*(np.zeros(0, np.int64),) * 2, np.zeros(0))
    for turn in range(ROUNDS if count > BLOCK else 1):
        if turn:
            order = merge_order(tree, count)[0] if turn % 2 else _by_pivots(unit, rng)
        shift = BLOCK // 2 if turn % 2 else 0
        cuts = sorted({0, *range(shift, count, BLOCK), count})
        blocks = [_dense_tree(unit, order[top:bottom]) for top, bottom in itertools.pairwise(cuts)]
        ends = np.array(cuts[1:-1], np.int64)
        links = with_similarity(unit, order[ends - 1], order[ends])
        tree = _tree_of(_concatenate(tree, *blocks, links), count)
    return tree


def _by_pivots(unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return row numbers, those with the same nearest one of a few random rows together."""
    count = len(unit)
    chosen = rng.choice(count, max(1, min(1024, count // 256)), replace=False)
    pivots = torch.from_numpy(unit[chosen])
    nearest = [
        (torch.from_numpy(unit[start : start + BLOCK]) @ pivots.T).argmax(dim=1).numpy()
        for start in range(0, count, BLOCK)
    ]
    return np.argsort(np.concatenate(nearest), kind="stable")


def _dense_tree(unit: np.ndarray, numbers: np.ndarray) -> Edges:
    """Return the spanning tree of some rows, by Prim's algorithm on all their similarities."""
    rows = torch.from_numpy(unit[numbers])
    similar = (rows @ rows.T).numpy()
    if similar.min() > ALIKE:
        similar = (rows.double() @ rows.double().T).numpy()
    best, source = similar[0].copy(), np.zeros(len(numbers), np.int64)
    best[0] = -np.inf
    left, right = np.empty(len(numbers) - 1, np.int64), np.empty(len(numbers) - 1, np.int64)
    outside = np.ones(len(numbers), bool)
    outside[0] = False
    for step in range(len(numbers) - 1):
        new = int(best.argmax())
        left[step], right[step] = source[new], new
        outside[new] = False
        nearer = (similar[new] > best) & outside
        best[nearer], source[nearer] = similar[new][nearer], new
        best[new] = -np.inf
    return with_similarity(unit, numbers[left], numbers[right])


def merge_order(tree: Edges, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Order rows such that single linkage only ever merges neighboring ranges.

    Returns:
        The order, (N,) int64, and the gaps, (N - 1,) float64: the weakest edge on the path between
        two rows is the least gap between them.
    """
    parent, tail, following = list(range(count)), list(range(count)), [-1] * count
    gap = [0.0] * count
    best_first = np.argsort(-tree.similarity, kind="stable")
    columns = (tree.left, tree.right, tree.similarity)
    for a, b, similarity in zip(*(side[best_first].tolist() for side in columns), strict=True):
        a, b = root_of(parent, a), root_of(parent, b)  # a root is the first row of its range
        following[tail[a]], gap[tail[a]] = b, similarity
        parent[b], tail[a] = a, tail[b]
    order, gaps = np.empty(count, np.int64), np.empty(count)
    row = root_of(parent, 0)
    for i in range(count):
        order[i], gaps[i] = row, gap[row]
        row = following[row]
    return order, gaps[:-1]


def root_of(parent: list[int], row: int) -> int:
    """Return the root of a row's set (union-find, halving the path on the way)."""
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row


def _exact_tree(unit: np.ndarray, tree: Edges) -> Edges:
    """Take into the tree every pair of rows that is more similar than the path between them."""
    count, dim = unit.shape
    order, gaps = merge_order(tree, count)
    weakest, waiting, edges = WeakestEdge(order, gaps), 0, [tree]
    for top in range(0, count, BLOCK):
        rows = torch.from_numpy(unit[order[top : top + BLOCK]])
        for left in range(top, count, BLOCK):
            columns = rows if left == top else torch.from_numpy(unit[order[left : left + BLOCK]])
            bound = _error_bound(dim, torch.float32)
            i, j = _passing(rows @ columns.T, top, left, gaps, bound)
            if len(i) > MANY * len(rows) * len(columns):
                bound = _error_bound(dim, torch.float64)
                i, j = _passing(rows.double() @ columns.double().T, top, left, gaps, bound)
            pairs = weakest.stronger(unit, order[top + i], order[left + j])
            edges.append(pairs)
            waiting += len(pairs.left)
            if waiting > PENDING:
                edges, waiting = [_tree_of(_concatenate(*edges), count)], 0
                weakest = WeakestEdge(*merge_order(edges[0], count))
    return _tree_of(_concatenate(*edges), count)


def _error_bound(dim: int, dtype: torch.dtype) -> float:
    """Return the error bound of a sum of ``dim`` products of unit rows, and of a limit."""
    return (2 * dim + 4) * torch.finfo(dtype).eps / 2


def _passing(
    similar: torch.Tensor, top: int, left: int, gaps: np.ndarray, error_bound: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the pairs of a block that may exceed the weakest edge between."""
    height, width = similar.shape
    if top == left:
        limits = inner_limits(gaps[top : top + height - 1]) - error_bound
        pairs = torch.nonzero(similar > torch.from_numpy(limits).to(similar.dtype)).numpy()
        return pairs[:, 0], pairs[:, 1]
    # from each row to the first row after the block
    to_corner = np.minimum.accumulate(gaps[top : top + height][::-1])[::-1]
    between = gaps[top + height : left].min(initial=np.inf)
    from_corner = np.minimum.accumulate(np.concatenate(([np.inf], gaps[left : left + width - 1])))
    corner_limit = torch.from_numpy(np.minimum(to_corner, between) - error_bound)
    row_limit = corner_limit.to(similar.dtype)
    column_limit = torch.from_numpy(from_corner - error_bound).to(similar.dtype)
    least = column_limit[-1].item()
    some = torch.nonzero(similar.amax(dim=1) > row_limit.clamp(max=least)).ravel()
    if not len(some):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    limits_of_some = torch.minimum(row_limit[some, None], column_limit[None])
    row, column = torch.nonzero(similar[some] > limits_of_some, as_tuple=True)
    return some[row].numpy(), column.numpy()


def inner_limits(gaps: np.ndarray) -> np.ndarray:
    """Return the least gap between any two of m rows in order.

    Returns:
        (m, m) float64, infinite where the second row is not after the first.
    """
    size = len(gaps) + 1
    limits = np.full((size, size), np.inf)
    for row in range(size - 1):
        limits[row, row + 1 :] = np.minimum.accumulate(gaps[row:])
    return limits


class WeakestEdge:
    """The weakest edge between any two rows of a tree, by the least gaps of all ranges of 2^k rows.

    Args:
        order: (N,) int64 from ``merge_order``.
        gaps: (N - 1,) float64 from ``merge_order``.
    """

    def __init__(self, order: np.ndarray, gaps: np.ndarray) -> None:
        self.position = np.empty(len(order), np.int64)
        self.position[order] = np.arange(len(order))
        self.levels = [gaps]
        while len(self.levels[-1]) > (step := 1 << (len(self.levels) - 1)):
            self.levels.append(np.minimum(self.levels[-1][:-step], self.levels[-1][step:]))

    def __call__(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the similarities, (E,) float64, for pairs of different rows."""
        low, high = np.sort([self.position[left], self.position[right]], axis=0)
        level = np.frexp(high - low)[1] - 1
        least = np.empty(len(low))
        for k in np.unique(level):
            at = level == k
            gaps = self.levels[k]
            least[at] = np.minimum(gaps[low[at]], gaps[high[at] - (1 << k)])
        return least

    def stronger(self, unit: np.ndarray, left: np.ndarray, right: np.ndarray) -> Edges:
        """Return the pairs that are more similar than the weakest edge between their rows.

        Args:
            unit: (N, D) float32, unit rows.
            left: (E,) int64, a row of each pair.
            right: (E,) int64, the other row.
        """
        pairs = with_similarity(unit, left, right)
        real = pairs.similarity > self(left, right)
        return Edges(left[real], right[real], pairs.similarity[real])
