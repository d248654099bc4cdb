"""``m-per-class``: m rows of each of B / m classes (CLIPPINGS)."""

from __future__ import annotations

import numpy as np

from hardpairs.batches.ordered import OrderedBatchSampler, compact, dealt, sorted_by
from hardpairs.core.errors import usage


class MPerClassBatchSampler(OrderedBatchSampler):
    """m rows of each of B / m classes, every row once per epoch.

    As CLIPPINGS' NoReplacementMPerClassSampler, but on any number of ranks, and without classes that an epoch leaves out. The last rows of
    a class whose size is no multiple of m are joined by others of the class, seen twice in that epoch. Rows that are alone in their class, as
    unlabelled ones are, stand m together, each negative to all; classes with two or more rows and fewer than m are filled up with random rows,
    counted. No class stands twice in a batch, but for one with more groups of m than an epoch has batches, and for groups that fill the last
    places of an epoch.

    Args:
        classes: (N,) int64, equal for rows of one class.
        m_per_class: m.
    """

    def __init__(
        self,
        num_samples: int,
        classes: np.ndarray,
        *,
        batch_size: int,
        m_per_class: int = 2,
        exclude=None,
        **base,
    ) -> None:
        if len(classes) != num_samples:
            raise ValueError(f"classes of {len(classes)} rows for {num_samples}")
        if m_per_class < 1:
            raise usage(f"--m-per-class must be at least 1, not {m_per_class}")
        if batch_size % m_per_class:
            lower = batch_size // m_per_class * m_per_class
            raise usage(
                f"--batch-size {batch_size} does not hold whole groups of {m_per_class} images of a class",
                fix=f"--batch-size {lower or m_per_class} or {lower + m_per_class}",
            )
        self.classes, self.m_per_class = compact(classes), m_per_class
        kept = np.ones(num_samples, bool)
        kept[[] if exclude is None else exclude] = False
        alone = kept & (np.bincount(self.classes[kept], minlength=num_samples)[self.classes] == 1)
        self._alone = int(alone.sum())
        self.classes[alone] = self.classes.max() + 1
        sizes = np.bincount(self.classes[kept])
        self._sizes = sizes[sizes > 0]
        self._groups = int((-(-self._sizes // m_per_class)).sum())
        super().__init__(num_samples, batch_size=batch_size, exclude=exclude, **base)
        self._check_classes()

    def _check_classes(self) -> None:
        if self.m_per_class > 1 and self._alone == len(self.rows):
            raise usage(
                f"no two of the {len(self.rows)} rows share a class",
                fix="--csv-group-key names the column whose equal values are a class",
            )
        needed = self.global_batch_size // self.m_per_class
        there = (
            len(self._sizes) - (self._alone > 0) + -(-self._alone // self.m_per_class)
        )  # rows that are alone may stand together anywhere
        if there < needed:
            smaller = self.batch_size * there // needed // self.m_per_class * self.m_per_class
            raise usage(
                f"the data has {there} classes, a global batch of {self.global_batch_size} needs {needed} with --m-per-class {self.m_per_class}",
                fix=f"--batch-size {max(smaller, self.m_per_class)} or smaller, or a larger --m-per-class",
            )

    @property
    def group_size(self) -> int:
        return self.m_per_class

    @property
    def steps(self) -> int:
        return -(-self._groups // (self.global_batch_size // self.m_per_class))

    def epoch_order(self, rng: np.random.Generator) -> np.ndarray:
        rows = self.rows.at(np.arange(len(self.rows), dtype=np.int32)).astype(np.int32)
        groups = class_groups(rows, self.classes[rows], self.m_per_class, rng)
        per_batch = self.global_batch_size // self.m_per_class
        # Dealt over the batches, groups of one class lie in different ones; the shift keeps a repeated group out of its own batch.
        again = np.arange(self.steps * per_batch - len(groups)) + (len(groups) % self.steps == 0)
        groups = np.concatenate([groups, groups[again % len(groups)]])
        return rng.permutation(dealt(groups, self.steps, per_batch)).ravel()


def class_groups(
    rows: np.ndarray, classes: np.ndarray, m: int, rng: np.random.Generator
) -> np.ndarray:
    """Groups of m rows of one class, classes (small whole numbers from 0) and their rows in random order.

    Returns:
        (groups, m): each row of a class once, the last group of a class filled up from its start; -1 where the class has fewer than m.
    """
    order = sorted_by(classes, rng)
    rows, classes = rows[order], classes[order]
    first = np.flatnonzero(np.r_[True, classes[1:] != classes[:-1]]).astype(
        np.int32
    )  # 4 bytes a row here and below: epochs are large
    sizes = np.diff(np.r_[first, np.int32(len(rows))])
    groups = -(-sizes // m)
    of_class = np.repeat(np.arange(len(first), dtype=np.int32), groups)
    number = np.arange(len(of_class), dtype=np.int32) - np.repeat(
        groups.cumsum(dtype=np.int32) - groups, groups
    )  # of the group in its class
    place = number[:, None] * np.int32(m) + np.arange(m, dtype=np.int32)  # (groups, m)
    size = sizes[of_class, None]
    empty = (place >= size) & (size < m)
    place %= size
    place += first[of_class, None]
    found = rows[place]
    found[empty] = -1
    return found
