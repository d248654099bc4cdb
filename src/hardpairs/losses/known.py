"""Which rows of a batch show the same thing, and are no negatives of each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from hardpairs.losses.gather import World


@dataclass(frozen=True)
class Known:
    """What tells it, of n rows.

    Attributes:
        ids: (n, G) int64; two rows that share one in any column show the same thing.
        stored: (n, D) unit rows of one or more kinds; so do two rows whose dot product is above ``threshold`` in any. Stored ones, never
            the model's own: a model must not talk its way out of a negative by finding it alike.
    """

    ids: torch.Tensor
    stored: tuple[torch.Tensor, ...] = ()
    threshold: float = 1.0

    @classmethod
    def of(cls, positives: torch.Tensor | Known | None) -> Known | None:
        """Ids alone, or as it is."""
        return cls(positives) if isinstance(positives, torch.Tensor) else positives

    def take(self, index: slice) -> Known:
        """Some of the rows."""
        return self._each(lambda part: part[index])

    def gathered(self, world: World) -> Known:
        """The same of all ranks' rows."""
        return self._each(world.gather)

    def rows_of(self, world: World) -> Known:
        """From all ranks' rows, those that this rank's loss is about."""
        return self._each(world.rows_of)

    def alike(self, columns: Known) -> torch.Tensor:
        """(n, m) bool: which rows show the same thing as which of m others; a row and itself do."""
        same = torch.zeros(
            len(self.ids), len(columns.ids), dtype=torch.bool, device=self.ids.device
        )
        for row_ids, column_ids in zip(self.ids.T, columns.ids.T, strict=True):
            same |= row_ids[:, None] == column_ids[None, :]
        for rows, others in zip(self.stored, columns.stored, strict=True):
            same |= rows @ others.T > self.threshold
        return same

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Known:
        return replace(
            self, ids=change(self.ids), stored=tuple(change(rows) for rows in self.stored)
        )
