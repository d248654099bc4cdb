"""What a loss knows of a batch's pairs beside their logits, computed for a block of rows at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hardpairs.losses.gather import World
from hardpairs.losses.known import Known
from hardpairs.losses.weights import SimilarityWeights


@dataclass
class Facts:
    """What is known of n rows of a batch. Each may be ``None``: not known, or not wanted.

    Attributes:
        positives: which rows show the same thing, and are no negatives of each other.
        exempt: (n,) int64 ids; negatives that share one keep weight 1 (a target and its mined partners).
        source: (n, S) rows whose dot product is the similarity A.
        log_scale: (n,) minus the log of the mean raw weight over a row's negatives.
    """

    positives: Known | None = None
    exempt: torch.Tensor | None = None
    source: torch.Tensor | None = None
    log_scale: torch.Tensor | None = None

    def gathered(self, world: World) -> Facts:
        """The same of all ranks' rows."""
        positives = None if self.positives is None else self.positives.gathered(world)
        return Facts(
            positives,
            *(
                None if value is None else world.gather(value)
                for value in (self.exempt, self.source, self.log_scale)
            ),
        )

    def of(self, world: World) -> Facts:
        """From the facts of all rows, those that this rank's loss is about."""
        positives = None if self.positives is None else self.positives.rows_of(world)
        return Facts(
            positives,
            *(
                None if value is None else world.rows_of(value)
                for value in (self.exempt, self.source, self.log_scale)
            ),
        )


def similarity_source(image: torch.Tensor, text: torch.Tensor, alpha: float) -> torch.Tensor:
    """(n, S) rows whose dot products are alpha * text similarity + (1 - alpha) * image similarity: one product instead of two."""
    if alpha in (0, 1):
        return text if alpha else image
    return torch.cat([image * (1 - alpha) ** 0.5, text * alpha**0.5], dim=1)


def diagonal(block: torch.Tensor, first: int) -> torch.Tensor:
    """View of the own pairs' entries of a (b, B) block whose row 0 has its own pair in column ``first``: (b,)."""
    return block[:, first : first + len(block)].diagonal()


class Negatives:
    """Log-weights of the pairs of some rows with all columns of the global batch.

    Args:
        rows, columns: facts of this loss's rows, and of the global batch.
        first: column number of row 0's own pair.
        weights: ``None``: all negatives weigh 1.
    """

    def __init__(
        self, rows: Facts, columns: Facts, first: int, weights: SimilarityWeights | None = None
    ) -> None:
        self.rows, self.columns, self.first, self.weights = rows, columns, first, weights
        self._kept: dict[
            int, torch.Tensor
        ] = {}  # by first row: raw weights between ``normalise`` and the loss

    def masked(self, block: slice) -> torch.Tensor | None:
        """(block, B) bool: known positives, without a row's own pair (row i, column first + i)."""
        if self.rows.positives is None or self.columns.positives is None:
            return None
        mask = self.rows.positives.take(block).alike(self.columns.positives)
        diagonal(mask, self.first + block.start).fill_(False)
        return mask

    def counted(self, block: slice, width: int) -> torch.Tensor:
        """(block, B) bool: the negatives, all pairs but a row's own and its known positives."""
        mask = self.masked(block)
        device = (
            mask.device
            if mask is not None
            else None
            if self.rows.source is None
            else self.rows.source.device
        )
        counted = (
            torch.ones(block.stop - block.start, width, dtype=torch.bool, device=device)
            if mask is None
            else ~mask
        )
        diagonal(counted, self.first + block.start).fill_(False)
        return counted

    def similarity(self, block: slice) -> torch.Tensor:
        """(block, B) A, in at least float32."""
        assert self.rows.source is not None and self.columns.source is not None
        product = self.rows.source[block] @ self.columns.source.T
        return product.to(torch.promote_types(product.dtype, torch.float32))

    def log_raw(self, block: slice) -> torch.Tensor:
        """(block, B) logarithms of the raw weights."""
        assert self.weights is not None
        kept = self._kept.pop(block.start, None)
        if kept is not None and len(kept) == block.stop - block.start:
            return kept
        return self.weights.log_raw(self.similarity(block))

    def log_weights(self, block: slice) -> torch.Tensor | None:
        """(block, B) log-weights of the negatives of these rows, 0 for own pairs, -inf for known positives; ``None`` when all are 0."""
        return self.log_weights_both_ways(block, ways=1)[0]

    def log_weights_both_ways(self, block: slice, ways: int = 2) -> list[torch.Tensor | None]:
        """``log_weights`` and, at the same places (i, j), what the row of text j takes for image i.

        Pair (i, j) is as alike as (j, i): the two are one tensor unless rows are normalised, when j's row has a scale of its own.
        """
        mask = self.masked(block)
        if self.weights is None:
            logs = (
                None
                if mask is None
                else torch.zeros(mask.shape, device=mask.device).masked_fill_(mask, -torch.inf)
            )
            return [logs] * ways
        raw = self.log_raw(block)
        if self.rows.log_scale is None or self.columns.log_scale is None:
            return [self._finish(self.weights.log_effective(raw, None), mask, block)] * ways
        scales = [self.rows.log_scale[block, None], self.columns.log_scale[None, :]][:ways]
        return [
            self._finish(self.weights.log_effective(raw, scale), mask, block) for scale in scales
        ]

    def _finish(self, logs: torch.Tensor, mask: torch.Tensor | None, block: slice) -> torch.Tensor:
        if self.rows.exempt is not None and self.columns.exempt is not None:
            logs.masked_fill_(self.rows.exempt[block, None] == self.columns.exempt[None, :], 0)
        diagonal(logs, self.first + block.start).fill_(0)
        return logs if mask is None else logs.masked_fill_(mask, -torch.inf)

    def normalise(self, world: World, blocks: list[slice], keep: bool) -> None:
        """Gives each row the scale that makes the mean weight of its negatives 1. A row without negatives keeps scale 1.

        Args:
            keep: hold the raw weights until the loss asks for the same blocks.
        """
        assert self.columns.source is not None
        scales = []
        for block in blocks:
            counted = self.counted(block, len(self.columns.source))
            raw = self.log_raw(block)
            if keep:
                self._kept[block.start] = raw
            number = counted.sum(1)
            mean = raw.masked_fill(~counted, -torch.inf).logsumexp(1) - number.clamp(min=1).log()
            scales.append(torch.where(number > 0, -mean, torch.zeros_like(mean)))
        self.rows.log_scale = torch.cat(scales)
        self.columns.log_scale = (
            world.gather(self.rows.log_scale) if world.local_loss else self.rows.log_scale
        )
