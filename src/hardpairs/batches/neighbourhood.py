"""``neighbourhood``: whole batches of rows that are hard for one another, from the graph of hard pairs (GCBS, B3)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

from hardpairs.batches.ordered import OrderedBatchSampler, padded
from hardpairs.core.errors import usage
from hardpairs.data.hard_pairs import HardPairTable

EDGES_AT_ONCE = 1 << 20
"""Rows of the table that are turned into edges at a time."""


class NeighbourhoodBatchSampler(OrderedBatchSampler):
    """Batches that join several neighbourhoods: small sets of rows that list one another as hard pairs. Every row once per epoch.

    GCBS (arXiv 2210.12874) takes consecutive rows of one order of the graph as a batch, B3 (arXiv 2505.11293) joins communities. Here both
    join small neighbourhoods, so that each epoch has other batches; with ``size`` equal to the global batch a batch is one neighbourhood.

    Args:
        line: gives (N,) row numbers, each once, in which a neighbourhood is ``size`` consecutive ones (``bandwidth_order``,
            ``community_order``); asked when the sizes are known to fit.
        size: rows of a neighbourhood; divides the global batch.
        shift: whether the cuts between neighbourhoods lie elsewhere each epoch (for an order without borders of its own).
    """

    def __init__(
        self,
        num_samples: int,
        line: Callable[[], np.ndarray],
        *,
        size: int = 16,
        shift: bool = True,
        **base,
    ) -> None:
        super().__init__(num_samples, **base)
        self.size, self.shift = size, shift
        if size < 2 or self.global_batch_size % size:
            raise usage(
                f"--neighbourhood-size {size} does not divide the global batch of {self.global_batch_size}",
                fix="one of "
                + ", ".join(
                    str(n)
                    for n in range(2, self.global_batch_size + 1)
                    if self.global_batch_size % n == 0
                ),
            )
        whole = np.asarray(line(), np.int64)
        if len(whole) != num_samples:
            raise ValueError(f"an order of {len(whole)} rows for {num_samples}")
        usable = self.rows.has(whole)
        self.line = whole[usable] if shift else refilled(whole, usable, size)

    def epoch_order(self, rng: np.random.Generator) -> np.ndarray:
        line = np.roll(self.line, -int(rng.integers(len(self.line)))) if self.shift else self.line
        whole = len(line) // self.size * self.size
        pieces = rng.permutation(line[:whole].reshape(-1, self.size))
        return padded(np.concatenate([pieces.ravel(), line[whole:]]), self.global_batch_size)


def hard_pair_graph(table: HardPairTable, first: int, depth: int) -> csr_array:
    """Undirected graph: an edge where one row lists the other at ranks ``first`` to ``first + depth`` (from 0). (N, N), bool, symmetric.

    Raises:
        UserError: exit 2 when it has no edge.
    """
    count = len(table.lengths)
    parts = []
    for start in range(0, count, EDGES_AT_ONCE):
        lists = np.asarray(table.indices[start : start + EDGES_AT_ONCE, first : first + depth])
        source = np.broadcast_to(
            np.arange(start, start + len(lists), dtype=np.int32)[:, None], lists.shape
        )
        parts.append(np.stack([source[lists >= 0], lists[lists >= 0]]))
    edges = np.concatenate(parts, axis=1)
    if not edges.shape[1]:
        raise usage(f"no row has a hard pair after its first {first}", fix="a smaller --hard-skip")
    graph = csr_array((np.ones(edges.shape[1], bool), (edges[0], edges[1])), shape=(count, count))
    return (graph + graph.T).tocsr()


def bandwidth_order(graph: csr_array) -> np.ndarray:
    """All rows in an order in which rows with an edge stand close: reverse Cuthill-McKee, as in GCBS. (N,) int32."""
    return reverse_cuthill_mckee(graph, symmetric_mode=True).astype(np.int32)


def community_order(graph: csr_array, size: int, seed: int = 0) -> np.ndarray:
    """All rows, communities of ``size`` one after the other: METIS' balanced partition, as in B3. (N,) int32.

    METIS balances to a few percent; rows above ``size`` fill communities that have fewer.

    Raises:
        UserError: exit 2 without pymetis.
    """
    try:
        import pymetis
    except ImportError:
        raise usage(
            "--neighbourhood communities needs pymetis",
            fix="pip install pymetis, or --neighbourhood rcm",
        ) from None
    count = graph.shape[0]
    parts = -(-count // size)
    adjacency = pymetis.CSRAdjacency(graph.indptr, graph.indices)
    _, part = pymetis.part_graph(parts, adjacency=adjacency, options=pymetis.Options(seed=seed))
    return levelled(np.asarray(part), size)


def refilled(line: np.ndarray, usable: np.ndarray, size: int) -> np.ndarray:
    """The usable rows of a line of communities of ``size``, cut so that communities stay together: places of rows that cannot be used are taken by
    the rows of the communities that lost most.

    Args:
        line: (N,) rows, one community after the other. usable: (N,) bool, by place in the line.

    Example:
        >>> refilled(np.array([0, 1, 2, 3, 4, 5]), np.array([True, True, False, True, True, False]), 2)
        array([0, 1, 3, 4])
    """
    rows, part = line[usable], np.arange(len(line))[usable] // size
    counts = np.bincount(part, minlength=-(-len(line) // size))
    fullest = np.argsort(-counts, kind="stable")
    place_of = np.empty_like(fullest)
    place_of[fullest] = np.arange(len(fullest))
    inside = np.arange(len(rows)) - (counts.cumsum() - counts)[part]
    table = np.full((-(-len(rows) // size), size), -1, np.int64)
    stays = place_of[part] < len(table)
    table[place_of[part[stays]], inside[stays]] = rows[stays]
    free = np.flatnonzero(table.ravel() < 0)[: int((~stays).sum())]
    table.ravel()[free] = rows[~stays]
    return table[table >= 0]


def levelled(part: np.ndarray, size: int) -> np.ndarray:
    """Rows ordered by part, parts of ``size``, the fullest first: rows too many in one part go to parts that have too few.

    Example:
        >>> levelled(np.array([0, 0, 0, 1, 2, 2]), 2)
        array([0, 1, 4, 5, 3, 2], dtype=int32)
    """
    order = np.argsort(part, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(part[order]) != 0])
    lengths = np.diff(np.r_[first, len(part)])
    by_length = np.argsort(
        -np.minimum(lengths, size), kind="stable"
    )  # what stays empty is then at the end
    line = np.full((max(-(-len(part) // size), len(first)), size), -1, np.int32)
    inside = np.arange(size) < lengths[by_length, None]
    kept = (first[by_length, None] + np.arange(size))[inside]
    line[: len(first)][inside] = order[kept]
    surplus = np.delete(order, kept)
    line.ravel()[np.flatnonzero(line.ravel() < 0)[: len(surplus)]] = surplus
    return line[line >= 0]
