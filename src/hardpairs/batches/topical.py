"""``topical``: batches from one cluster of the stored embeddings, and random ones."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.batches.base import BatchContext
from hardpairs.batches.clusters import cluster
from hardpairs.batches.ordered import OrderedBatchSampler, dealt, sorted_by
from hardpairs.batches.sources import EmbeddingSource, identity, open_stored_embeddings
from hardpairs.batches.stored import made_once
from hardpairs.core.components import option, register
from hardpairs.core.errors import usage
from hardpairs.data.embeddings import Embeddings


@register("topical")
class TopicalBatchSampler(OrderedBatchSampler):
    """A share of the batches from one cluster each, the rest random; every row once per epoch.

    CLIPSE draws a cluster for each batch without regard to the rows used before, so that an epoch
    misses rows. Here the shuffled rows of each cluster are cut into pieces of a batch. The fullest
    pieces are the topical batches, filled up with random rows where a cluster is smaller than a
    batch. The rest makes the random batches.

    Args:
        num_samples: N, rows of the data set.
        clusters: (N,) whole numbers, the cluster of each row; -1 for rows without one.
        p_topical: Share of the batches that are topical; exact, not by chance.
        round_robin: The opposite: each batch has its part of every cluster, and ``p_topical`` is
            not used. CLIPSE takes one row of each cluster in turn, which leaves the large clusters
            for the end; here the shares are even from the first batch on.
        **sizes: As in ``BatchSampler``.

    Raises:
        UserError: exit 2 when the sizes do not fit together.
        ValueError: For an option out of its range.
    """

    @dataclass(frozen=True)
    class Config(EmbeddingSource):
        """Options of topical batches."""

        clusters: int = option(
            80, "clusters of the text embeddings", flag="--topical-clusters", minimum=1
        )
        p_topical: float = option(0.5, "share of batches of one cluster", minimum=0, maximum=1)
        round_robin: bool = option(
            False,
            "each batch has rows of every cluster instead",
            flag="--topical-round-robin",
        )

    def __init__(
        self,
        num_samples: int,
        clusters: np.ndarray,
        *,
        p_topical: float = 0.5,
        round_robin: bool = False,
        **sizes: Any,
    ) -> None:
        if len(clusters) != num_samples:
            raise ValueError(f"clusters of {len(clusters)} rows for {num_samples}")
        self.options = self.Config(p_topical=p_topical, round_robin=round_robin)
        self.clusters = clusters
        super().__init__(num_samples, **sizes)

    @classmethod
    def from_config(cls, config: Config, context: BatchContext) -> TopicalBatchSampler:
        """Cluster the stored text embeddings, once for all runs, and build the batch maker.

        Where the run embeds its data later, no row has a cluster yet.
        """
        folder = config.embeddings
        if folder is None and not context.embeds_later:
            raise usage("this batch maker needs `embeddings`", fix="hardpairs embed makes them")
        clusters = np.full(len(context.samples), -1, np.int32)
        if folder is None:
            _check_count(config.clusters, len(clusters))
        else:
            embeddings = open_stored_embeddings(folder, context.samples, context.verify)
            clusters[embeddings.rows] = _clusters(embeddings, config.clusters, context.seed, folder)
        return cls(
            len(clusters),
            clusters,
            p_topical=config.p_topical,
            round_robin=config.round_robin,
            **context.sizes(),
        )

    def epoch_order(self, rng: np.random.Generator) -> np.ndarray:
        """Return topical and random batches in random order."""
        rows, size = self.rows.all(), self.global_batch_size
        clusters = np.asarray(self.clusters)[rows]
        if self.options.round_robin:
            order = rows[sorted_by(clusters + 1, rng)]
            return rng.permutation(dealt(order, self.steps, size)).ravel()
        return topical_order(rows, clusters, size, self.options.p_topical, rng)


def _clusters(embeddings: Embeddings, count: int, seed: int, folder: str) -> np.ndarray:
    _check_count(count, len(embeddings.rows))
    recipe = {
        "text": identity(embeddings, folder),
        "clusters": count,
        "seed": seed,
        "version": 1,
    }
    make = functools.partial(cluster, embeddings.text, count, seed)
    return made_once(Path(folder), "clusters", recipe, make)


def _check_count(clusters: int, rows: int) -> None:
    if clusters > rows:
        raise usage(f"`clusters` {clusters} is more than the number of embeddings, {rows}")


def topical_order(
    rows: np.ndarray, clusters: np.ndarray, size: int, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the rows of an epoch whose batches are topical in the given share.

    Args:
        rows: (n,) row numbers.
        clusters: (n,) the rows' clusters; -1: none.
        size: Rows of a batch.
        share: Share of the batches that are topical.
        rng: The epoch's generator.

    Returns:
        (ceil(n / size) * size,); -1 in positions that no row is left for.
    """
    order = sorted_by(clusters + 1, rng)
    rows, clusters = rows[order], clusters[order]
    first = np.flatnonzero(np.r_[True, clusters[1:] != clusters[:-1]])
    sizes = np.diff(np.r_[first, len(rows)])
    # Position of each row in its cluster.
    position = np.arange(len(rows), dtype=np.int32) - np.repeat(first.astype(np.int32), sizes)
    starts = np.flatnonzero(position % size == 0)
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
