"""The spanning tree of the most similar pairs of N rows: exact, never N x N.

1. A first tree. Rows are cut into blocks of similar ones in a few ways; the dense spanning trees of the blocks, joined, span all rows.
2. One pass over all pairs. A pair belongs to the exact tree only if it is more similar than the weakest edge on the path between its rows in
   the first tree (the cycle property). With rows in the order in which that tree merges them, the weakest edge between two rows is the
   least of the *gaps* between them, so that the limits of a block of pairs are outer minima of two vectors, compared while the block is in cache.
3. The tree of the first tree's edges and of the pairs that passed is exact.

Similarities that choose are float32 products within a proven error, or float64 ones where rows are so alike that most float32 products pass; those that decide are float64 sums
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
"""Ways to cut the rows for the first tree: more find more of its edges, and let fewer pairs pass."""
WAITING = 1 << 20
"""Pairs that may wait before the tree takes them in."""


ALIKE = 1 - 1e-4
"""Similarity of rows whose float32 products hardly say which of them are nearer: an embedding that has collapsed."""
MANY = 1 / 64
"""Share of a block's pairs above which a float64 product of the block is cheaper than the pairs' own sums."""


@dataclass(frozen=True)
class Edges:
    """Pairs of rows: left and right (E,) int64, similarity (E,) float64."""

    left: np.ndarray
    right: np.ndarray
    similarity: np.ndarray


def spanning_tree(unit: np.ndarray, seed: int = 0) -> Edges:
    """The N - 1 edges of a maximum spanning tree of x_i . x_j. Equal similarities leave a choice of edges, never of similarities.

    Args:
        unit: (N, D) float32 unit rows.
    """
    kept, same = _distinct(unit)
    rows = unit[kept] if len(same.left) else unit
    tree = _exact_tree(rows, _first_tree(rows, seed))
    return _joined(Edges(kept[tree.left], kept[tree.right], tree.similarity), same)


def _distinct(unit: np.ndarray) -> tuple[np.ndarray, Edges]:
    """Numbers of the first of each set of equal rows, and edges from it to the others: many equal rows would all pass every limit."""
    rows = (
        np.ascontiguousarray(unit).view([("row", np.void, unit.itemsize * unit.shape[1])]).ravel()
    )
    _, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    other = np.flatnonzero(first[inverse] != np.arange(len(unit)))
    return np.sort(first), with_similarity(unit, first[inverse[other]], other)


def with_similarity(unit: np.ndarray, left: np.ndarray, right: np.ndarray) -> Edges:
    """Edges with their float64 similarities."""
    similarity = np.empty(len(left))
    for start in range(0, len(left), 4096):
        part = slice(start, start + 4096)
        similarity[part] = np.einsum(
            "ij,ij->i", unit[left[part]].astype(np.float64), unit[right[part]].astype(np.float64)
        )
    return Edges(left, right, similarity)


def _joined(*parts: Edges) -> Edges:
    return Edges(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("left", "right", "similarity")
        )
    )


def _tree_of(edges: Edges, count: int) -> Edges:
    """The maximum spanning forest of a graph."""
    low, high = np.minimum(edges.left, edges.right), np.maximum(edges.left, edges.right)
    _, once = np.unique(low * count + high, return_index=True)  # scipy would add up repeated edges
    graph = coo_array(
        (2 - edges.similarity[once], (low[once], high[once])), shape=(count, count)
    )  # distances above 0: it drops zeros
    tree = minimum_spanning_tree(graph.tocsr()).tocoo()
    return Edges(tree.row.astype(np.int64), tree.col.astype(np.int64), 2 - tree.data)


def _first_tree(unit: np.ndarray, seed: int) -> Edges:
    """A good spanning tree, from blocks of rows that some order puts together: cells of random pivots, then the tree's own, moved by half a block."""
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
        tree = _tree_of(_joined(tree, *blocks, links), count)
    return tree


def _by_pivots(unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Row numbers, those together that are nearest to the same one of a few random rows."""
    count = len(unit)
    pivots = torch.from_numpy(
        unit[rng.choice(count, max(1, min(1024, count // 256)), replace=False)]
    )
    near = [
        (torch.from_numpy(unit[start : start + BLOCK]) @ pivots.T).argmax(dim=1).numpy()
        for start in range(0, count, BLOCK)
    ]
    return np.argsort(np.concatenate(near), kind="stable")


def _dense_tree(unit: np.ndarray, numbers: np.ndarray) -> Edges:
    """The spanning tree of some rows (Prim's algorithm on all their similarities)."""
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
    """Rows in an order in which single linkage only ever merges neighbouring ranges.

    Returns:
        order (N,) int64, and gaps (N - 1,) float64: the weakest edge on the path between two rows is the least gap between them.
    """
    parent, tail, following = list(range(count)), list(range(count)), [-1] * count
    gap = [0.0] * count
    best_first = np.argsort(-tree.similarity, kind="stable")
    for a, b, similarity in zip(
        tree.left[best_first].tolist(),
        tree.right[best_first].tolist(),
        tree.similarity[best_first].tolist(),
        strict=True,
    ):
        a, b = root_of(parent, a), root_of(parent, b)  # a root is the first row of its range
        following[tail[a]], gap[tail[a]] = b, similarity
        parent[b], tail[a] = a, tail[b]
    order, gaps = np.empty(count, np.int64), np.empty(count)
    row = root_of(parent, 0)
    for place in range(count):
        order[place], gaps[place] = row, gap[row]
        row = following[row]
    return order, gaps[:-1]


def root_of(parent: list[int], row: int) -> int:
    """The root of a row's set (union-find with halved paths)."""
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row


def _exact_tree(unit: np.ndarray, tree: Edges) -> Edges:
    """Goes once over all pairs of rows, and takes into the tree what is more similar than its own path."""
    count = len(unit)
    order, gaps = merge_order(tree, count)
    weakest, waiting, found = Weakest(order, gaps), 0, [tree]
    for top in range(0, count, BLOCK):
        rows = torch.from_numpy(unit[order[top : top + BLOCK]])
        for left in range(top, count, BLOCK):
            columns = rows if left == top else torch.from_numpy(unit[order[left : left + BLOCK]])
            i, j = _passing(rows @ columns.T, top, left, gaps, _error(unit.shape[1], torch.float32))
            if len(i) > MANY * len(rows) * len(columns):
                i, j = _passing(
                    rows.double() @ columns.double().T,
                    top,
                    left,
                    gaps,
                    _error(unit.shape[1], torch.float64),
                )
            pairs = weakest.stronger(unit, order[top + i], order[left + j])
            found.append(pairs)
            waiting += len(pairs.left)
            if waiting > WAITING:
                found, waiting = [_tree_of(_joined(*found), count)], 0
                weakest = Weakest(*merge_order(found[0], count))
    return _tree_of(_joined(*found), count)


def _error(width: int, dtype: torch.dtype) -> float:
    """How far a sum of ``width`` products of unit rows, in any order, and a limit of this type may be off."""
    return (2 * width + 4) * torch.finfo(dtype).eps / 2


def _passing(
    similar: torch.Tensor, top: int, left: int, gaps: np.ndarray, error: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pairs of a block that may be more similar than the weakest edge between them."""
    height, width = similar.shape
    if top == left:
        limits = torch.from_numpy(inner_limits(gaps[top : top + height - 1]) - error).to(
            similar.dtype
        )
        found = torch.nonzero(similar > limits).numpy()
        return found[:, 0], found[:, 1]
    to_corner = np.minimum.accumulate(gaps[top : top + height][::-1])[
        ::-1
    ]  # from each row to the first one after the block
    between = gaps[top + height : left].min(initial=np.inf)
    from_corner = np.minimum.accumulate(np.concatenate(([np.inf], gaps[left : left + width - 1])))
    row_limit = torch.from_numpy(np.minimum(to_corner, between) - error).to(similar.dtype)
    column_limit = torch.from_numpy(from_corner - error).to(similar.dtype)
    some = torch.nonzero(
        similar.amax(dim=1) > row_limit.clamp(max=column_limit[-1].item())
    ).ravel()  # the last limit is the least
    if not len(some):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    pairs = torch.nonzero(similar[some] > torch.minimum(row_limit[some, None], column_limit[None]))
    return some[pairs[:, 0]].numpy(), pairs[:, 1].numpy()


def inner_limits(gaps: np.ndarray) -> np.ndarray:
    """(m, m) least gap between any two of m rows in order, where the second is after the first; infinite elsewhere."""
    size = len(gaps) + 1
    limits = np.full((size, size), np.inf)
    for row in range(size - 1):
        limits[row, row + 1 :] = np.minimum.accumulate(gaps[row:])
    return limits


class Weakest:
    """The weakest edge between any two rows of a tree, by the least gaps of all ranges of 2^k places.

    Args:
        order, gaps: of ``merge_order``.
    """

    def __init__(self, order: np.ndarray, gaps: np.ndarray) -> None:
        self.place = np.empty(len(order), np.int64)
        self.place[order] = np.arange(len(order))
        self.levels = [gaps]
        while len(self.levels[-1]) > (step := 1 << (len(self.levels) - 1)):
            self.levels.append(np.minimum(self.levels[-1][:-step], self.levels[-1][step:]))

    def __call__(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """(E,) float64 for pairs of different rows."""
        low, high = np.sort([self.place[left], self.place[right]], axis=0)
        level = np.frexp(high - low)[1] - 1
        least = np.empty(len(low))
        for k in np.unique(level):
            at = level == k
            gaps = self.levels[k]
            least[at] = np.minimum(gaps[low[at]], gaps[high[at] - (1 << k)])
        return least

    def stronger(self, unit: np.ndarray, left: np.ndarray, right: np.ndarray) -> Edges:
        """The pairs that are more similar than that."""
        pairs = with_similarity(unit, left, right)
        real = pairs.similarity > self(left, right)
        return Edges(left[real], right[real], pairs.similarity[real])
