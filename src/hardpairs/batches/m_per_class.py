"""``m-per-class``: m rows of each of B / m labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hardpairs.batches.base import BatchContext
from hardpairs.batches.ordered import OrderedBatchSampler, compact, dealt, sorted_by
from hardpairs.core.components import Options, option, register
from hardpairs.core.errors import usage


@register("m-per-class")
class MPerClassBatchSampler(OrderedBatchSampler):
    """Several rows of each label that is in a batch; every row once per epoch.

    As CLIPPINGS' NoReplacementMPerClassSampler, but for any number of ranks, and without labels
    that an epoch leaves out. The last rows of a label whose size is no multiple of m are joined by
    others of the label, which the epoch then holds twice. Rows that are alone in their label, as
    unlabeled ones are, stand m together, each a negative of all others. Labels with two or more
    rows and fewer than m are filled up with random rows. No label is in a batch twice, except one
    with more groups of m than an epoch has batches, and in groups that fill the end of an epoch.

    Args:
        num_samples: N, rows of the data set.
        labels: (N,) int64, equal for rows of one label.
        batch_size: Rows per rank and micro-batch.
        m_per_class: m.
        exclude: Rows that are in no batch.
        **sizes: ``seed``, ``rank``, ``world_size``, ``accumulate``, as in ``BatchSampler``.

    Raises:
        UserError: exit 2 when the data has too few labels for the sizes.
        ValueError: For an option out of its range.
    """

    @dataclass(frozen=True)
    class Config(Options):
        """Options of batches with m rows of a label."""

        m_per_class: int = option(2, "images of each label in a batch", minimum=1)

    def __init__(
        self,
        num_samples: int,
        labels: np.ndarray,
        *,
        batch_size: int,
        m_per_class: int = 2,
        exclude: np.ndarray | None = None,
        **sizes: Any,
    ) -> None:
        if len(labels) != num_samples:
            raise ValueError(f"labels of {len(labels)} rows for {num_samples}")
        self.m_per_class = self.Config(m_per_class=m_per_class).m_per_class
        self.labels = compact(labels)
        kept = np.ones(num_samples, bool)
        kept[[] if exclude is None else exclude] = False
        counts = np.bincount(self.labels[kept], minlength=num_samples)
        alone = kept & (counts[self.labels] == 1)
        self._alone = int(alone.sum())
        self.labels[alone] = self.labels.max() + 1
        counts = np.bincount(self.labels[kept])
        self._counts = counts[counts > 0]
        self._groups = int((-(-self._counts // m_per_class)).sum())
        super().__init__(num_samples, batch_size=batch_size, exclude=exclude, **sizes)
        self._check_labels()

    @classmethod
    def from_config(cls, config: Config, context: BatchContext) -> MPerClassBatchSampler:
        """Build the batch maker for the data's groups."""
        samples = context.samples
        return cls(len(samples), samples.groups, **vars(config), **context.sizes())

    def _check_labels(self) -> None:
        if self.m_per_class > 1 and self._alone == len(self.rows):
            raise usage(
                f"no two of the {len(self.rows)} rows share a label",
                fix="`group_key` names the column of labels",
            )
        needed = self.global_batch_size // self.m_per_class
        # Rows that are alone can be in any batch.
        alone = -(-self._alone // self.m_per_class) - (self._alone > 0)
        available = len(self._counts) + alone
        if available < needed:
            smaller = self.batch_size * available // needed // self.m_per_class * self.m_per_class
            raise usage(
                f"the data has {available} labels, a global batch of {self.global_batch_size} "
                f"needs {needed} with `m_per_class` {self.m_per_class}",
                fix=f"`batch_size` {max(smaller, self.m_per_class)} or smaller, or a larger "
                "`m_per_class`",
            )

    @property
    def group_size(self) -> int:
        """Return m."""
        return self.m_per_class

    @property
    def group_text(self) -> str:
        """Return what a group is, for messages."""
        return f"{self.m_per_class} images of a label"

    @property
    def steps(self) -> int:
        """Return the number of global batches per epoch."""
        return -(-self._groups // (self.global_batch_size // self.m_per_class))

    def epoch_order(self, rng: np.random.Generator) -> np.ndarray:
        """Return groups of m rows of a label, dealt over the batches."""
        rows = self.rows.all()
        groups = label_groups(rows, self.labels[rows], self.m_per_class, rng)
        per_batch = self.global_batch_size // self.m_per_class
        # Dealing puts groups of one label into different batches. The shift keeps a group that is
        # repeated at the end out of the batch that holds it already.
        again = np.arange(self.steps * per_batch - len(groups)) + (len(groups) % self.steps == 0)
        groups = np.concatenate([groups, groups[again % len(groups)]])
        return rng.permutation(dealt(groups, self.steps, per_batch)).ravel()


def label_groups(
    rows: np.ndarray, labels: np.ndarray, m: int, rng: np.random.Generator
) -> np.ndarray:
    """Return groups of m rows of one label, labels and their rows in random order.

    Args:
        rows: (n,) row numbers.
        labels: (n,) small whole numbers from 0, the rows' labels.
        m: Rows of a group.
        rng: The epoch's generator.

    Returns:
        (groups, m): each row once; the last group of a label is filled up from the label's start,
        and holds -1 where the label has fewer than m rows.
    """
    order = sorted_by(labels, rng)
    rows, labels = rows[order], labels[order]
    # int32 here and below: epochs are large.
    first = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]]).astype(np.int32)
    sizes = np.diff(np.r_[first, np.int32(len(rows))])
    groups = -(-sizes // m)
    of_label = np.repeat(np.arange(len(first), dtype=np.int32), groups)
    before = np.repeat(groups.cumsum(dtype=np.int32) - groups, groups)
    number = np.arange(len(of_label), dtype=np.int32) - before  # of the group within its label
    position = number[:, None] * np.int32(m) + np.arange(m, dtype=np.int32)  # (groups, m)
    size = sizes[of_label, None]
    empty = (position >= size) & (size < m)
    position %= size
    position += first[of_label, None]
    grouped = np.asarray(rows[position])
    grouped[empty] = -1
    return grouped
