"""``neighbourhood``: batches of small sets of rows that are hard pairs of one another."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

from hardpairs.batches.base import BatchContext, BatchSampler
from hardpairs.batches.info import RANDOM, TARGET
from hardpairs.batches.shuffle import shuffle_keys, shuffled
from hardpairs.batches.sources import RankSource
from hardpairs.batches.stored import made_once
from hardpairs.core.components import option, register
from hardpairs.core.errors import usage
from hardpairs.data.hard_pairs import HardPairTable

LOG = logging.getLogger(__name__)

ROWS_AT_ONCE = 1 << 20
"""Rows of the table that are turned into edges at a time."""


@register("neighbourhood")
class NeighborhoodBatchSampler(BatchSampler):
    """Batches that join several small sets of rows which list one another as hard pairs.

    Every row once per epoch. GCBS (arXiv 2210.12874) takes consecutive rows of one order of the
    graph of hard pairs as a batch; B3 (arXiv 2505.11293) joins communities. Here both join small
    neighborhoods, so that each epoch has other batches. With ``size`` equal to the global batch, a
    batch is one neighborhood.

    Args:
        num_samples: N, rows of the data set.
        order: Returns (N,) row numbers, each once, in which a neighborhood is ``size`` consecutive
            ones (``bandwidth_order``, ``community_order``). It is called when the sizes fit.
        size: Rows of a neighborhood; divides the global batch.
        shift: Whether the cuts between neighborhoods move from epoch to epoch (for an order without
            borders of its own).
        **sizes: As in ``BatchSampler``.

    Raises:
        UserError: exit 2 when the sizes do not fit together.
    """

    @dataclass(frozen=True)
    class Config(RankSource):
        """Options of neighborhood batches."""

        kind: str = option(
            "rcm",
            "order of the rows, as in GCBS or as in B3",
            flag="--neighbourhood",
            choices=("rcm", "communities"),
        )
        size: int = option(16, "rows that stay together", flag="--neighbourhood-size", minimum=2)

    def __init__(
        self,
        num_samples: int,
        order: Callable[[], np.ndarray],
        *,
        size: int = 16,
        shift: bool = True,
        **sizes: Any,
    ) -> None:
        super().__init__(num_samples, **sizes)
        self.size, self.shift = size, shift
        total = self.global_batch_size
        if size < 2 or total % size:
            divisors = ", ".join(str(n) for n in range(2, total + 1) if total % n == 0)
            raise usage(
                f"`size` {size} does not divide the global batch of {total}",
                fix=f"one of {divisors}",
            )
        whole = np.asarray(order())
        if len(whole) != num_samples:
            raise ValueError(f"an order of {len(whole)} rows for {num_samples}")
        self.order = whole  # a mapped file stays one where no row is left out
        if len(self.rows) < num_samples:
            usable = self.rows.has(whole)
            self.order = whole[usable] if shift else refilled(whole, usable, size)

    @classmethod
    def from_config(cls, config: Config, context: BatchContext) -> NeighborhoodBatchSampler:
        """Order the rows by their hard pairs, once for all runs, and build the batch maker."""
        table = config.open(context)
        recipe = {
            "table": table.manifest["sha256"],
            "kind": config.kind,
            "first": config.hard_skip,
            "depth": config.hard_topk,
            "version": 1,
        }
        if config.kind == "communities":
            recipe["size"] = config.size
        path = Path(str(config.hard_pairs))
        folder = path if path.is_dir() else path.parent
        make = functools.partial(_order_of, table, config)
        sampler = cls(
            len(context.samples),
            functools.partial(made_once, folder, "neighbourhoods", recipe, make),
            size=config.size,
            shift=config.kind == "rcm",
            **context.sizes(exclude=table.rejected),
        )
        sampler.table = table
        return sampler

    def global_batch(
        self, step: int, epoch: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the next neighborhoods of the epoch's shuffle.

        The rows that make no whole one come last, and random rows behind them.
        """
        total, size = len(self.order), self.size
        count = self.global_batch_size // size
        numbers = step * count + np.arange(count)
        whole = numbers < total // size
        keys = shuffle_keys(self.seed, epoch)
        numbers[whole] = shuffled(numbers[whole], total // size, keys)
        positions = (numbers[:, None] * size + np.arange(size)).ravel()
        there = positions < total
        rows = np.full(len(positions), -1, np.int64)
        rows[there] = self.order[(positions[there] + self._shift_of(epoch)) % total]
        rows[~there] = self.rows.draw_outside(rows[there], int((~there).sum()), rng)
        return rows, np.where(there, TARGET, RANDOM).astype(np.uint8)

    def _shift_of(self, epoch: int) -> int:
        """Return where in the order the epoch's first neighborhood begins."""
        seed = np.random.SeedSequence([self.seed, epoch], spawn_key=(2,))
        return int(np.random.default_rng(seed).integers(len(self.order))) if self.shift else 0


def _order_of(table: HardPairTable, config: NeighborhoodBatchSampler.Config) -> np.ndarray:
    LOG.info(
        f"Ordering {len(table.lengths)} rows by their hard pairs ({config.kind}); done once for "
        "this table."
    )
    graph = hard_pair_graph(table, config.hard_skip, config.hard_topk)
    return bandwidth_order(graph) if config.kind == "rcm" else community_order(graph, config.size)


def hard_pair_graph(table: HardPairTable, first: int, depth: int) -> csr_array:
    """Return the undirected graph with an edge where one row lists the other.

    Args:
        table: Hard pairs of N rows.
        first: First rank that makes an edge, from 0.
        depth: Number of ranks that make edges.

    Returns:
        (N, N) bool, symmetric.

    Raises:
        UserError: exit 2 when it has no edge.
    """
    count = len(table.lengths)
    blocks = []
    for start in range(0, count, ROWS_AT_ONCE):
        lists = np.asarray(table.indices[start : start + ROWS_AT_ONCE, first : first + depth])
        numbers = np.arange(start, start + len(lists), dtype=np.int32)
        sources = np.broadcast_to(numbers[:, None], lists.shape)
        blocks.append(np.stack([sources[lists >= 0], lists[lists >= 0]]))
    edges = np.concatenate(blocks, axis=1)
    if not edges.shape[1]:
        raise usage(f"no row has a hard pair after its first {first}", fix="a smaller `hard_skip`")
    graph = csr_array((np.ones(edges.shape[1], bool), (edges[0], edges[1])), shape=(count, count))
    return (graph + graph.T).tocsr()


def bandwidth_order(graph: csr_array) -> np.ndarray:
    """Return all rows in an order in which rows with an edge are close, (N,) int32.

    It is reverse Cuthill-McKee, as in GCBS.
    """
    return np.asarray(reverse_cuthill_mckee(graph, symmetric_mode=True), np.int32)


def community_order(graph: csr_array, size: int, seed: int = 0) -> np.ndarray:
    """Return all rows, one community of ``size`` after the other, (N,) int32.

    It is METIS' balanced partition, as in B3. METIS balances to a few percent; rows above ``size``
    fill communities that have fewer.

    Args:
        graph: (N, N), symmetric.
        size: Rows of a community.
        seed: Seed of METIS.

    Raises:
        UserError: exit 2 without pymetis.
    """
    try:
        import pymetis
    except ImportError:
        raise usage(
            "`kind` communities needs pymetis", fix="pip install pymetis, or `kind` rcm"
        ) from None
    count = -(-graph.shape[0] // size)
    adjacency = pymetis.CSRAdjacency(graph.indptr, graph.indices)
    options = pymetis.Options(seed=seed)
    _, community = pymetis.part_graph(count, adjacency=adjacency, options=options)
    return leveled(np.asarray(community), size)


def refilled(order: np.ndarray, usable: np.ndarray, size: int) -> np.ndarray:
    """Return the usable rows of an order of communities, cut so that communities stay together.

    Rows of the communities that lost most take the positions of rows that cannot be used.

    Args:
        order: (N,) rows, one community after the other.
        usable: (N,) bool, by position in the order.
        size: Rows of a community.

    Example:
        >>> usable = np.array([True, True, False, True, True, False])
        >>> refilled(np.array([0, 1, 2, 3, 4, 5]), usable, 2)
        array([0, 1, 3, 4])
    """
    rows, community = order[usable], np.arange(len(order))[usable] // size
    counts = np.bincount(community, minlength=-(-len(order) // size))
    fullest = np.argsort(-counts, kind="stable")
    rank_of = np.empty_like(fullest)
    rank_of[fullest] = np.arange(len(fullest))
    inside = np.arange(len(rows)) - (counts.cumsum() - counts)[community]
    grid = np.full((-(-len(rows) // size), size), -1, np.int64)
    stays = rank_of[community] < len(grid)
    grid[rank_of[community[stays]], inside[stays]] = rows[stays]
    return _filled(grid, rows[~stays])


def leveled(community: np.ndarray, size: int) -> np.ndarray:
    """Return rows ordered by community, the fullest first.

    Rows above ``size`` in one community go to communities that have fewer.

    Args:
        community: (N,) the community of each row.
        size: Rows of a community.

    Example:
        >>> leveled(np.array([0, 0, 0, 1, 2, 2]), 2)
        array([0, 1, 4, 5, 3, 2], dtype=int32)
    """
    order = np.argsort(community, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(community[order]) != 0])
    lengths = np.diff(np.r_[first, len(community)])
    # The fullest first: positions that stay empty are then at the end.
    by_length = np.argsort(-np.minimum(lengths, size), kind="stable")
    grid = np.full((max(-(-len(community) // size), len(first)), size), -1, np.int32)
    inside = np.arange(size) < lengths[by_length, None]
    kept = (first[by_length, None] + np.arange(size))[inside]
    grid[: len(first)][inside] = order[kept]
    return _filled(grid, np.delete(order, kept))


def _filled(grid: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Put rows into the first empty positions (-1) and return all rows, position by position."""
    flat = grid.ravel()
    flat[np.flatnonzero(flat < 0)[: len(rows)]] = rows
    return flat[flat >= 0]
