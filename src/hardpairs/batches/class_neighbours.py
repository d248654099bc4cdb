"""``class-neighbours``: classes beside the classes that are hardest to tell from them (CLIPPINGS' hard negatives)."""

from __future__ import annotations

import numpy as np

from hardpairs.batches.info import HARD_PAIR, RANDOM, TARGET
from hardpairs.batches.m_per_class import class_groups
from hardpairs.batches.ordered import OrderedBatchSampler, compact
from hardpairs.core.errors import usage
from hardpairs.core.vectors import unit_rows
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.metrics.neighbors import nearest


class ClassNeighbourBatchSampler(OrderedBatchSampler):
    """Families: m rows of a class, then m rows of each of its k nearest classes.

    As CLIPPINGS' hard-negative set (dell-research-harvard/clippings, arXiv 2304.03464), but: each row leads a family once per epoch, in a new
    order; families are never cut by a batch's border; k does not count the class itself; no row stands twice in a batch. A class with fewer
    than m rows left gives what it has, and random rows fill its places, counted.

    Args:
        classes: (N,) int64, equal for rows of one class.
        neighbours: (C, K) int64, K >= k: classes by place in ``np.unique(classes)``, nearest first; -1 where there is none.
        m_per_class: m. class_neighbours: k.
    """

    def __init__(
        self,
        num_samples: int,
        classes: np.ndarray,
        neighbours: np.ndarray,
        *,
        batch_size: int,
        m_per_class: int = 2,
        class_neighbours: int = 2,
        exclude: np.ndarray | None = None,
        **base,
    ) -> None:
        if len(classes) != num_samples:
            raise ValueError(f"classes of {len(classes)} rows for {num_samples}")
        if m_per_class < 1 or class_neighbours < 1:
            raise usage(
                f"--m-per-class and --class-neighbours must be at least 1, not {m_per_class} and {class_neighbours}"
            )
        self.classes, self.m_per_class, self.per_family = (
            compact(classes),
            m_per_class,
            1 + class_neighbours,
        )
        self.neighbours = neighbours[:, :class_neighbours]
        if batch_size % self.group_size:
            lower = batch_size // self.group_size * self.group_size
            raise usage(
                f"--batch-size {batch_size} does not hold whole families of {self.per_family} classes with {m_per_class} images each",
                fix=f"--batch-size {lower or self.group_size} or {lower + self.group_size}",
            )
        kept = np.delete(np.arange(num_samples), [] if exclude is None else exclude)
        order = kept[np.argsort(self.classes[kept], kind="stable")]
        self._of_class = np.split(
            order, np.searchsorted(self.classes[order], np.arange(1, self.classes.max() + 1))
        )
        self._families = sum(-(-len(rows) // m_per_class) for rows in self._of_class)
        super().__init__(num_samples, batch_size=batch_size, exclude=exclude, **base)

    @property
    def group_size(self) -> int:
        return self.m_per_class * self.per_family

    @property
    def targets_per_batch(self) -> int:
        return self.global_batch_size // self.per_family

    @property
    def steps(self) -> int:
        return -(-self._families // (self.global_batch_size // self.group_size))

    def epoch_order(self, rng: np.random.Generator) -> np.ndarray:
        """The families' own rows, (steps * families per batch * m,)."""
        rows = self.rows.at(np.arange(len(self.rows), dtype=np.int32)).astype(np.int32)
        groups = rng.permutation(class_groups(rows, self.classes[rows], self.m_per_class, rng))
        places = self.steps * (self.global_batch_size // self.group_size)
        return groups[np.arange(places) % len(groups)].ravel()

    def global_batch(
        self, step: int, epoch: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        own = self._order(epoch)[
            step * self.targets_per_batch : (step + 1) * self.targets_per_batch
        ].astype(np.int64)
        again = np.ones(len(own), bool)
        again[np.unique(own, return_index=True)[1]] = (
            False  # a family that fills an epoch's last places may be in the batch already
        )
        leaders = self.classes[
            own.reshape(-1, self.m_per_class)[:, 0]
        ]  # a group's first place is never empty
        own[again] = -1
        families = np.full((len(leaders), self.per_family, self.m_per_class), -1, np.int64)
        families[:, 0] = own.reshape(-1, self.m_per_class)
        taken = set(own[own >= 0].tolist())
        for family, neighbours in zip(families, self.neighbours[leaders], strict=True):
            for place, name in enumerate(neighbours[neighbours >= 0], start=1):
                free = [
                    row
                    for row in rng.permutation(self._of_class[name]).tolist()
                    if row not in taken
                ][: self.m_per_class]
                family[place, : len(free)] = free
                taken.update(free)
        roles = np.broadcast_to(
            np.where(np.arange(self.per_family) == 0, TARGET, HARD_PAIR)[:, None], families.shape
        )
        rows, empty = families.ravel(), families.ravel() < 0
        rows[empty] = self.rows.draw_outside(rows[~empty], int(empty.sum()), rng)
        return rows, np.where(empty, RANDOM, roles.ravel()).astype(np.uint8)


def nearest_classes(rows: np.ndarray, classes: np.ndarray, k: int) -> np.ndarray:
    """The k nearest other classes of each, by the cosine of their mean unit rows; of equal ones the first.

    Args:
        rows: (M, D) embeddings. classes: (M,) whole numbers from 0, every one up to the largest used.

    Returns:
        (C, min(k, C - 1)) int64.
    """
    count = int(classes.max()) + 1
    means = np.zeros((count, rows.shape[1]), np.float64)
    np.add.at(means, classes, unit_rows(rows))
    means = unit_rows(means, np.float64)
    found = nearest(means, means, k + 1)[0]
    others = found != np.arange(count)[:, None]
    others[others.all(axis=1), -1] = False  # equal classes may push a class out of its own list
    return found[others].reshape(count, -1)


def classes_of_hard_pairs(
    table: HardPairTable, classes: np.ndarray, k: int, *, exclude: np.ndarray | None = None
) -> np.ndarray:
    """The k classes that stand highest in the hard pairs of each class's rows: by best rank, then how often, then number.

    Args:
        classes: (N,) whole numbers from 0 of the table's rows. exclude: rows that are in no batch, and lead to no class.

    Returns:
        (C, k) int64, -1 behind shorter lists.
    """
    count, (rows, width) = int(classes.max()) + 1, table.indices.shape
    there = np.asarray(table.indices) >= 0
    there &= ~np.isin(table.indices, [] if exclude is None else exclude)
    mine = np.repeat(classes, width).reshape(rows, width)[there].astype(np.int64)
    theirs = classes[np.asarray(table.indices)[there]].astype(np.int64)
    rank = np.broadcast_to(np.arange(width), there.shape)[there]
    pairs, place, often = np.unique(mine * count + theirs, return_inverse=True, return_counts=True)
    best = np.full(len(pairs), width)
    np.minimum.at(best, place, rank)
    mine, theirs = pairs // count, pairs % count
    other = mine != theirs
    order = np.flatnonzero(other)[
        np.lexsort((theirs[other], -often[other], best[other], mine[other]))
    ]
    number = np.arange(len(order)) - np.searchsorted(mine[order], mine[order])
    found = np.full((count, k), -1, np.int64)
    kept = number < k
    found[mine[order][kept], number[kept]] = theirs[order][kept]
    return found
