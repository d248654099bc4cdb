"""``class-neighbours``: labels beside the labels that are hardest to tell from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hardpairs.batches.base import BatchContext
from hardpairs.batches.info import HARD_PAIR, RANDOM, TARGET
from hardpairs.batches.m_per_class import label_groups
from hardpairs.batches.ordered import OrderedBatchSampler, compact, repeated
from hardpairs.batches.sources import EmbeddingSource, HardPairSource, open_stored_embeddings
from hardpairs.core.components import option, register
from hardpairs.core.errors import usage
from hardpairs.core.vectors import unit_rows
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.metrics.neighbors import nearest
from hardpairs.metrics.pooling import pooled

if TYPE_CHECKING:
    from hardpairs.data.embeddings import Embeddings


@register("class-neighbours")
class ClassNeighborBatchSampler(OrderedBatchSampler):
    """Families: m rows of a label, then m rows of each of its k nearest labels.

    As CLIPPINGS' hard-negative set (dell-research-harvard/clippings, arXiv 2304.03464), but each
    row leads a family once per epoch, in a new order; families are never cut by a batch's border; k
    does not count the label itself; no row is in a batch twice. A label with fewer than m rows left
    gives what it has, and random rows fill the gaps.

    Args:
        num_samples: N, rows of the data set.
        labels: (N,) int64, equal for rows of one label.
        neighbors: (C, K) int64, K >= k: labels by position in ``np.unique(labels)``, nearest first;
            -1 where there is none.
        batch_size: Rows per rank and micro-batch.
        m_per_class: m.
        class_neighbors: k.
        exclude: Rows that are in no batch.
        **sizes: ``seed``, ``rank``, ``world_size``, ``accumulate``, as in ``BatchSampler``.

    Raises:
        UserError: exit 2 when the sizes do not fit together.
        ValueError: For an option out of its range.
    """

    @dataclass(frozen=True)
    class Config(EmbeddingSource, HardPairSource):
        """Options of batches of labels and their nearest labels."""

        m_per_class: int = option(2, "images of each label in a batch", minimum=1)
        class_neighbors: int = option(
            2,
            "nearest other labels of a label",
            flag="--class-neighbours",
            minimum=1,
        )

    def __init__(
        self,
        num_samples: int,
        labels: np.ndarray,
        neighbors: np.ndarray,
        *,
        batch_size: int,
        m_per_class: int = 2,
        class_neighbors: int = 2,
        exclude: np.ndarray | None = None,
        **sizes: Any,
    ) -> None:
        if len(labels) != num_samples:
            raise ValueError(f"labels of {len(labels)} rows for {num_samples}")
        self.options = self.Config(m_per_class=m_per_class, class_neighbors=class_neighbors)
        self.labels, self.per_family = compact(labels), 1 + class_neighbors
        self.neighbors = neighbors[:, :class_neighbors]
        kept = np.delete(np.arange(num_samples), [] if exclude is None else exclude)
        order = kept[np.argsort(self.labels[kept], kind="stable")]
        borders = np.searchsorted(self.labels[order], np.arange(1, self.labels.max() + 1))
        self._of_label = np.split(order, borders)
        self._families = sum(-(-len(rows) // m_per_class) for rows in self._of_label)
        super().__init__(num_samples, batch_size=batch_size, exclude=exclude, **sizes)

    @classmethod
    def from_config(cls, config: Config, context: BatchContext) -> ClassNeighborBatchSampler:
        """Find the nearest labels, by hard pairs or by stored embeddings, and build the maker.

        Raises:
            UserError: exit 2 for both, and for neither where the run does not embed its data later;
                until then no label has neighbors.
        """
        if config.embeddings and config.hard_pairs:
            raise usage(
                "`embeddings` and `hard_pairs` both say which labels are near", fix="give one"
            )
        if not (config.embeddings or config.hard_pairs or context.embeds_later):
            raise usage(
                "this batch maker needs either `embeddings` or `hard_pairs`",
                fix="hardpairs embed makes the first, hardpairs mine the others",
            )
        samples, k = context.samples, config.class_neighbors
        labels, table = compact(samples.groups), None
        if not (config.embeddings or config.hard_pairs):
            neighbors = np.full((labels.max() + 1, k), -1)
        elif config.embeddings:
            embeddings = open_stored_embeddings(config.embeddings, samples, context.verify)
            neighbors = _neighbors_of_embeddings(embeddings, labels, k, context, config.embeddings)
        else:
            table = config.open(context)
            neighbors = labels_of_hard_pairs(table, labels, k, exclude=context.exclude)
        sampler = cls(
            len(samples),
            labels,
            neighbors,
            m_per_class=config.m_per_class,
            class_neighbors=k,
            **context.sizes(),
        )
        sampler.table = table
        return sampler

    @property
    def group_size(self) -> int:
        """Return the number of rows of a family."""
        return self.options.m_per_class * self.per_family

    @property
    def group_text(self) -> str:
        """Return what a family is, for messages."""
        return f"{self.per_family} labels with {self.options.m_per_class} images each"

    @property
    def targets_per_batch(self) -> int:
        """Return the number of rows that lead families in a global batch."""
        return self.global_batch_size // self.per_family

    @property
    def steps(self) -> int:
        """Return the number of global batches per epoch."""
        return -(-self._families // (self.global_batch_size // self.group_size))

    def epoch_order(self, rng: np.random.Generator) -> np.ndarray:
        """Return the rows that lead families, (steps * families per batch * m,)."""
        rows, m = self.rows.all(), self.options.m_per_class
        groups = rng.permutation(label_groups(rows, self.labels[rows], m, rng))
        count = self.steps * (self.global_batch_size // self.group_size)
        return groups[np.arange(count) % len(groups)].ravel()

    def global_batch(
        self, step: int, epoch: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return families: the next leading rows, each with rows of the nearest labels."""
        count, m = self.targets_per_batch, self.options.m_per_class
        own = self._order(epoch)[step * count : (step + 1) * count].astype(np.int64)
        leaders = self.labels[own.reshape(-1, m)[:, 0]]  # a group's first row is never empty
        # A family that fills the end of an epoch can be in the batch already.
        own[repeated(own)] = -1
        families = np.full((len(leaders), self.per_family, m), -1, np.int64)
        families[:, 0] = own.reshape(-1, m)
        taken = set(own[own >= 0].tolist())
        for family, neighbors in zip(families, self.neighbors[leaders], strict=True):
            for number, label in enumerate(neighbors[neighbors >= 0], start=1):
                drawn = rng.permutation(self._of_label[label]).tolist()
                free = [row for row in drawn if row not in taken][:m]
                family[number, : len(free)] = free
                taken.update(free)
        role = np.where(np.arange(self.per_family) == 0, TARGET, HARD_PAIR)
        roles = np.broadcast_to(role[:, None], families.shape)
        rows, empty = families.ravel(), families.ravel() < 0
        rows[empty] = self.rows.draw_outside(rows[~empty], int(empty.sum()), rng)
        return rows, np.where(empty, RANDOM, roles.ravel()).astype(np.uint8)


def _neighbors_of_embeddings(
    embeddings: Embeddings, labels: np.ndarray, k: int, context: BatchContext, folder: str
) -> np.ndarray:
    """Return the nearest labels by stored embeddings of what the loss compares.

    Labels of which no usable row was embedded have none: (C, k) int64, -1.
    """
    usable = ~np.isin(embeddings.rows, context.exclude)
    image, text = np.asarray(embeddings.image)[usable], np.asarray(embeddings.text)[usable]
    if context.embedding in ("image", "text"):  # encoders of one half each can differ in width
        rows = image if context.embedding == "image" else text
    elif image.shape != text.shape:
        raise usage(
            "image and text embeddings are of different spaces",
            where=folder,
            fix="a loss of image or text embeddings, or embeddings of one CLIP model",
        )
    else:
        rows = pooled(image, text, context.image_weight if context.embedding == "pooled" else 0.5)
    embedded, number = np.unique(labels[embeddings.rows[usable]], return_inverse=True)
    nearest_embedded = nearest_labels(rows, number, k)
    neighbors = np.full((int(labels.max()) + 1, k), -1, np.int64)
    neighbors[embedded, : nearest_embedded.shape[1]] = embedded[nearest_embedded]
    return neighbors


def nearest_labels(rows: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Return the k nearest other labels of each, by the cosine of their mean unit rows.

    Args:
        rows: (M, D) embeddings.
        labels: (M,) whole numbers from 0, every one up to the largest used.
        k: Number of labels.

    Returns:
        (C, min(k, C - 1)) int64; of equally near labels the first.
    """
    count = int(labels.max()) + 1
    means = np.zeros((count, rows.shape[1]), np.float64)
    np.add.at(means, labels, unit_rows(rows))
    means = unit_rows(means, np.float64)
    neighbors = nearest(means, means, k + 1)[0]
    others = neighbors != np.arange(count)[:, None]
    others[others.all(axis=1), -1] = False  # equal labels can push a label out of its own list
    return np.asarray(neighbors[others].reshape(count, -1))


def labels_of_hard_pairs(
    table: HardPairTable, labels: np.ndarray, k: int, *, exclude: np.ndarray | None = None
) -> np.ndarray:
    """Return the k labels that rank highest in the hard pairs of each label's rows.

    The order is by best rank, then by number of occurrences, then by label.

    Args:
        table: Hard pairs of the N rows.
        labels: (N,) whole numbers from 0.
        k: Number of labels.
        exclude: Rows that are in no batch, and lead to no label.

    Returns:
        (C, k) int64, -1 behind shorter lists.
    """
    count, (rows, width) = int(labels.max()) + 1, table.indices.shape
    exists = np.asarray(table.indices) >= 0
    exists &= ~np.isin(table.indices, [] if exclude is None else exclude)
    mine = np.repeat(labels, width).reshape(rows, width)[exists].astype(np.int64)
    theirs = labels[np.asarray(table.indices)[exists]].astype(np.int64)
    rank = np.broadcast_to(np.arange(width), exists.shape)[exists]
    pairs, number, often = np.unique(mine * count + theirs, return_inverse=True, return_counts=True)
    best = np.full(len(pairs), width)
    np.minimum.at(best, number, rank)
    mine, theirs = pairs // count, pairs % count
    other = mine != theirs
    keys = (theirs[other], -often[other], best[other], mine[other])
    order = np.flatnonzero(other)[np.lexsort(keys)]
    position = np.arange(len(order)) - np.searchsorted(mine[order], mine[order])
    neighbors = np.full((count, k), -1, np.int64)
    kept = position < k
    neighbors[mine[order][kept], position[kept]] = theirs[order][kept]
    return neighbors
