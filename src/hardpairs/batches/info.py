"""``BatchInfo``: everything that is known of a batch's rows, from the batch maker to the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import torch

Array: TypeAlias = Any
"""A NumPy array in a plan, a tensor from the data set on."""

TARGET, HARD_PAIR, RANDOM, SPARE = range(4)
"""Roles of a row: a target, a hard pair of the target before it, a random row, a replacement of an
unreadable row."""

FEATURES = (
    *("similarity_features", "duplicate_features"),
    *("guide_features", "start_features", "reference_features"),
)
"""Fields with image and text features of each row."""
PER_ROW = ("rows", "roles", "targets", "group_ids", *FEATURES)
"""Fields with one entry per row of the batch."""


@dataclass(frozen=True, eq=False)
class BatchInfo:
    """Facts about the b rows of a batch. ``None``: not known, or not needed.

    A batch maker fills in rows, roles, targets and spares as NumPy arrays. The data set replaces
    unreadable rows, adds the group ids and turns the arrays into tensors. The trainer adds stored
    features. A loss reads the fields that it needs; ``info.only(...).each(world.gather)`` has
    those of all ranks.

    Attributes:
        rows: (b,) int64, row numbers in the data set. With hard pairs: a target, its hard pairs,
            the next target...
        roles: (b,) uint8, ``TARGET``, ``HARD_PAIR``, ``RANDOM`` or ``SPARE``.
        targets: (b,) int64, row number of the target that a hard pair belongs to; the own row
            number of every other row.
        group_ids: (b, G) int64. Two rows that share an id in a column are known positives.
        similarity_features: Image and text features, (b, D) each and of unit length, whose
            similarities weight the negatives.
        duplicate_features: Image and text features, (b, D) each and of unit length, that show
            which rows are near duplicates. Stored ones, never the model's own: a model could
            otherwise lower its loss by making negatives alike.
        guide_features: Image and text features, (b, D) each and of unit length or zero, of a model
            that says which negatives are false.
        start_features: The same of the model that the run started from, whose similarities are
            part of the targets.
        reference_features: The same of a model whose similarities are subtracted.
        spares: (s,) int64, row numbers that replace unreadable rows; outside the global batch.
        coming: (c,) int64, row numbers of the batch that the same worker loads next.
        unreadable: (row number, reason) of the rows that spares have replaced.
        epochs_done: Epochs of the run before this batch, the part of the present one included.
        step: Optimizer steps of the run before this batch.
    """

    rows: Array = None
    roles: Array = None
    targets: Array = None
    group_ids: Array = None
    similarity_features: tuple[Array, Array] | None = None
    duplicate_features: tuple[Array, Array] | None = None
    guide_features: tuple[Array, Array] | None = None
    start_features: tuple[Array, Array] | None = None
    reference_features: tuple[Array, Array] | None = None
    spares: Array = None
    coming: Array = None
    unreadable: tuple[tuple[int, str], ...] = ()
    epochs_done: float = 0.0
    step: int = 0

    @classmethod
    def planned(cls, rows: np.ndarray, roles: np.ndarray, spares: np.ndarray) -> BatchInfo:
        """Return the info of a batch maker's rows; the targets follow from order and roles."""
        targets, is_hard_pair = rows, roles == HARD_PAIR
        if is_hard_pair.any():
            positions = np.where(roles == TARGET, np.arange(len(rows)), 0)
            last_target = np.maximum.accumulate(positions)
            targets = np.where(is_hard_pair, rows[last_target], rows)
        return cls(rows=rows, roles=roles, targets=targets, spares=spares)

    def replaced(
        self, rows: np.ndarray, unreadable: Sequence[tuple[int, str]], group_ids: np.ndarray
    ) -> BatchInfo:
        """Return the info after spares have replaced the unreadable rows.

        A hard pair whose target is unreadable becomes a random row: it is not hard for the spare.

        Args:
            rows: (b,) int64, the row numbers of the images that were read.
            unreadable: (row number, reason) of the rows and spares that could not be read.
            group_ids: (b, G) int64.
        """
        roles, targets = np.where(rows == self.rows, self.roles, SPARE), self.targets
        orphaned = (roles == HARD_PAIR) & np.isin(targets, [row for row, _ in unreadable])
        roles = np.where(orphaned, RANDOM, roles).astype(np.uint8)
        return replace(
            self,
            rows=rows,
            roles=roles,
            targets=np.where(roles == HARD_PAIR, targets, rows),
            group_ids=group_ids,
            spares=None,
            coming=None,
            unreadable=tuple(unreadable),
        )

    def __len__(self) -> int:
        """Return b, the number of rows."""
        values = (getattr(self, name) for name in PER_ROW)
        first = next((value for value in values if value is not None), ())
        return len(first[0]) if isinstance(first, tuple) and first else len(first)

    def each(self, change: Callable[[Any], Any]) -> BatchInfo:
        """Return the info with ``change`` applied to each array of rows."""
        values = {name: getattr(self, name) for name in PER_ROW}
        changed: dict[str, Any] = {
            name: tuple(map(change, value)) if isinstance(value, tuple) else change(value)
            for name, value in values.items()
            if value is not None
        }
        return replace(self, **changed)

    def arrays(self) -> list[Array]:
        """Return the arrays of rows, in the order in which ``with_arrays`` takes them."""
        arrays: list[Array] = []
        self.each(arrays.append)
        return arrays

    def with_arrays(self, arrays: Iterable[Array]) -> BatchInfo:
        """Return an info of other rows, whose ``arrays`` are given, with the same fields."""
        left = iter(arrays)
        return self.each(lambda _: next(left))

    def only(self, *names: str) -> BatchInfo:
        """Return the info with the named fields alone, so that no other is sent between ranks."""
        return BatchInfo(**{name: getattr(self, name) for name in names})

    def __getitem__(self, index: Any) -> BatchInfo:
        """Return the info of some rows: a slice, or a mask or list of positions in the batch."""
        return self.each(lambda part: part[index])

    def as_tensors(self) -> BatchInfo:
        """Return the info with tensors instead of NumPy arrays; they share memory."""
        import torch

        return self.each(torch.from_numpy)

    def to(self, device: torch.device | str) -> BatchInfo:
        """Return the info with its tensors on a device."""
        return self.each(lambda part: part.to(device))

    def pin_memory(self) -> BatchInfo:
        """Return the info with its tensors in page-locked memory; a DataLoader calls this."""
        return self.each(lambda part: part.pin_memory())

    @staticmethod
    def joined(infos: Sequence[BatchInfo]) -> BatchInfo:
        """Return the info of several micro-batches' rows, one after the other.

        Args:
            infos: Infos with the same fields, of tensors, oldest first. ``epochs_done`` is
                that of the last.
        """
        if len(infos) == 1:
            return infos[0]
        import torch

        parts = {name: [getattr(info, name) for info in infos] for name in PER_ROW}
        joined: dict[str, Any] = {
            name: tuple(map(torch.cat, zip(*values, strict=True)))
            if isinstance(values[0], tuple)
            else torch.cat(values)
            for name, values in parts.items()
            if values[0] is not None
        }
        return replace(infos[-1], **joined, unreadable=sum((info.unreadable for info in infos), ()))

    def same_group(self, columns: BatchInfo, duplicate_threshold: float = 1.0) -> torch.Tensor:
        """Return which of these rows are known positives of which others.

        Args:
            columns: Info of m other rows, with the same fields.
            duplicate_threshold: Two rows are near duplicates, and thereby known positives, when
                the dot product of their duplicate features exceeds it for images or for texts.

        Returns:
            (b, m) bool; also true for a row and itself.
        """
        import torch

        shape, device = (len(self.group_ids), len(columns.group_ids)), self.group_ids.device
        same = torch.zeros(shape, dtype=torch.bool, device=device)
        for row_ids, column_ids in zip(self.group_ids.T, columns.group_ids.T, strict=True):
            same |= row_ids[:, None] == column_ids[None, :]
        mine, theirs = self.duplicate_features or (), columns.duplicate_features or ()
        for features, other_features in zip(mine, theirs, strict=True):
            same |= features @ other_features.T > duplicate_threshold
        return same
