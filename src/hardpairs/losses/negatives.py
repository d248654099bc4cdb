"""Log-weights of a batch's pairs, computed for a block of rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch

from hardpairs.batches.info import BatchInfo
from hardpairs.losses.gather import World
from hardpairs.losses.memory import MemoryBatch
from hardpairs.losses.weights import SimilarityWeights

if TYPE_CHECKING:
    from hardpairs.losses.guide import GuidedMask


def similarity_source(image: torch.Tensor, text: torch.Tensor, alpha: float) -> torch.Tensor:
    """Return rows whose dot products are the similarity A: one product instead of two.

    Args:
        image: (n, D), unit length.
        text: (n, D'), unit length.
        alpha: Share of text similarity in A.

    Returns:
        (n, S) rows; their dot products are alpha * text + (1 - alpha) * image similarity.
    """
    if alpha in (0, 1):
        return text if alpha else image
    return torch.cat([image * (1 - alpha) ** 0.5, text * alpha**0.5], dim=1)


def diagonal(block: torch.Tensor, first: int) -> torch.Tensor:
    """Return a view of the own pairs' entries of a (b, B) block; row 0 has column ``first``."""
    return block[:, first : first + len(block)].diagonal()


class Negatives:
    """Log-weights of the pairs of some rows with all columns of the global batch.

    Args:
        rows: What is known of the rows that the loss is about: ``group_ids`` and
            ``duplicate_features`` say which are known positives, ``targets`` which negatives keep
            weight 1.
        columns: The same of the global batch.
        sources: Rows of ``similarity_source`` for ``rows`` and ``columns``; ``None`` without
            weights.
        first: Column of row 0's own pair.
        weights: ``None``: all negatives weigh 1.
        duplicate_threshold: Similarity above which rows are near duplicates.
        multi_positive: Whether known positives are positives of the loss, with weight 1, instead of
            masked.
        hardness: a. The logit of a negative grows by a times its cosine, without gradient.

    Attributes:
        past: The same rows' pairs with the columns of past batches.
        has_own: Whether the columns hold the rows' own pairs.
    """

    has_own: ClassVar[bool] = True

    def __init__(
        self,
        rows: BatchInfo,
        columns: BatchInfo,
        sources: tuple[torch.Tensor, torch.Tensor] | None,
        first: int,
        weights: SimilarityWeights | None = None,
        duplicate_threshold: float = 1.0,
        *,
        multi_positive: bool = False,
        hardness: float = 0.0,
    ) -> None:
        self.rows, self.columns, self.first, self.weights = rows, columns, first, weights
        self.sources, self.duplicate_threshold = sources, duplicate_threshold
        self.multi_positive, self.hardness = multi_positive, hardness
        self.guided: GuidedMask | None = None
        self.past: list[PastNegatives] = []
        self.log_scales: tuple[torch.Tensor, torch.Tensor] | None = None
        # Raw weights by first row, kept between ``normalize`` and the loss.
        self._kept: dict[int, torch.Tensor] = {}

    @property
    def row_source(self) -> torch.Tensor:
        """The rows of ``similarity_source`` of the loss's own rows, (b, S)."""
        assert self.sources is not None
        return self.sources[0]

    def own(self, values: torch.Tensor, block: slice) -> torch.Tensor:
        """Return a view of the own pairs' entries of (block, B) values; (0,) without any."""
        return diagonal(values, self.first + block.start) if self.has_own else values.diagonal()[:0]

    def column_tensors(self) -> list[torch.Tensor]:
        """Return what rows of another rank need to meet these columns, B rows each."""
        tensors = self.columns.arrays()
        tensors += [] if self.sources is None else [self.sources[1]]
        return tensors + ([] if self.log_scales is None else [self.log_scales[1]])

    def meet(self, tensors: Sequence[torch.Tensor]) -> NegativesOnly:
        """Return the log-weights of the same rows with another rank's columns.

        Args:
            tensors: That rank's ``column_tensors``.
        """
        left = iter(tensors)
        negatives = NegativesOnly(
            self.rows,
            self.columns.with_arrays(left),
            None if self.sources is None else (self.sources[0], next(left)),
            self.first,
            self.weights,
            self.duplicate_threshold,
            hardness=self.hardness,
        )
        if self.log_scales is not None:
            negatives.log_scales = (self.log_scales[0], next(left))
        return negatives

    def known_positives(self, block: slice) -> torch.Tensor | None:
        """Return (block, B) bool: known positives but a row's own pair; ``None`` without ids."""
        if self.rows.group_ids is None:
            return None
        mask = self.rows[block].same_group(self.columns, self.duplicate_threshold)
        self.own(mask, block).fill_(False)
        return mask

    def masked_both_ways(self, block: slice) -> list[torch.Tensor | None]:
        """Return (block, B) bool: pairs that rows and, at the same (i, j), columns leave out."""
        mask = None if self.multi_positive else self.known_positives(block)
        if self.guided is None:
            return [mask, mask]
        dropped = self.guided.dropped_both_ways(block)
        return [way if mask is None else way | mask for way in dropped]

    def counted(self, block: slice, width: int) -> torch.Tensor:
        """Return (block, B) bool: the negatives, neither a row's own pair nor known positives."""
        mask = self.known_positives(block)
        if mask is None:
            of = self.sources or self.rows.guide_features
            device = None if of is None else of[0].device
            shape = (block.stop - block.start, width)
            counted = torch.ones(shape, dtype=torch.bool, device=device)
        else:
            counted = ~mask
        self.own(counted, block).fill_(False)
        return counted

    def similarity(self, block: slice) -> torch.Tensor:
        """Return the similarities A, (block, B) in at least float32."""
        assert self.sources is not None
        product = self.sources[0][block] @ self.sources[1].T
        return product.to(torch.promote_types(product.dtype, torch.float32))

    def log_raw(self, block: slice) -> torch.Tensor:
        """Return logarithms of the raw weights, (block, B)."""
        assert self.weights is not None
        kept = self._kept.pop(block.start, None)
        if kept is not None and len(kept) == block.stop - block.start:
            return kept
        return self.weights.log_raw(self.similarity(block))

    def log_weights(self, block: slice) -> torch.Tensor | None:
        """Return the log-weights of the negatives of these rows.

        Returns:
            (block, B): 0 for own pairs, -inf for masked ones; ``None`` when all are 0.
        """
        return self.log_weights_both_ways(block, ways=1)[0]

    def log_weights_both_ways(self, block: slice, ways: int = 2) -> list[torch.Tensor | None]:
        """Return ``log_weights`` and, at the same (i, j), what the row of text j takes for image i.

        A is symmetric: the two are one tensor unless rows are normalized, because then row j has
        a scale of its own, or a guide masks them.
        """
        logs = self._weights_both_ways(block, ways)
        if self.guided is None:
            return logs
        dropped = self.guided.dropped_both_ways(block)
        return [
            (torch.zeros(mask.shape, device=mask.device) if way is None else way).masked_fill(
                mask, -torch.inf
            )
            for way, mask in zip(logs, dropped, strict=False)
        ]

    def _weights_both_ways(self, block: slice, ways: int) -> list[torch.Tensor | None]:
        mask = self.known_positives(block)
        if self.weights is None:
            logs = None
            if mask is not None and not self.multi_positive:
                logs = torch.zeros(mask.shape, device=mask.device).masked_fill_(mask, -torch.inf)
            return [logs] * ways
        raw = self.log_raw(block)
        if self.log_scales is None:
            return [self._finish(self.weights.log_effective(raw, None), mask, block)] * ways
        scales = [self.log_scales[0][block, None], self.log_scales[1][None, :]][:ways]
        return [
            self._finish(self.weights.log_effective(raw, scale), mask, block) for scale in scales
        ]

    def _finish(self, logs: torch.Tensor, mask: torch.Tensor | None, block: slice) -> torch.Tensor:
        own, others = self.rows.targets, self.columns.targets
        if isinstance(own, torch.Tensor) and isinstance(others, torch.Tensor):
            logs.masked_fill_(own[block, None] == others[None, :], 0)
        self.own(logs, block).fill_(0)
        weight = 0 if self.multi_positive else -torch.inf
        return logs if mask is None else logs.masked_fill_(mask, weight)

    def harden(self, logits: torch.Tensor, scale: torch.Tensor, block: slice) -> None:
        """Add ``hardness`` times the cosines to the logits of negatives, in place.

        Args:
            logits: (block, B), ``scale`` times the cosines.
            scale: (), exponentiated logit scale.
            block: The rows.
        """
        own = self.own(logits, block)
        kept, factor = own.clone(), 1 + self.hardness / scale
        positives = self.known_positives(block) if self.multi_positive else None
        logits.mul_(factor if positives is None else torch.where(positives, 1, factor))
        own.copy_(kept)

    def normalize(self, world: World, blocks: list[slice], keep: bool) -> None:
        """Scale each row so that the mean weight of its negatives, past ones included, is 1.

        A row without negatives keeps scale 1.

        Args:
            world: How ranks are joined.
            blocks: The blocks of rows to go through.
            keep: Whether to hold the raw weights until the loss asks for the same blocks.
        """
        scales = [
            log_scale([part.sum_of_weights(block, keep) for part in (self, *self.past)])
            for block in blocks
        ]
        own = torch.cat(scales)
        self.log_scales = (own, world.gather(own) if world.local_loss else own)
        for part in self.past:
            part.log_scales = (own, own)

    def sum_of_weights(self, block: slice, keep: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the log of each row's sum of raw weights of negatives, and their number."""
        assert self.sources is not None
        counted = self.counted(block, len(self.sources[1]))
        raw = self.log_raw(block)
        if keep:
            self._kept[block.start] = raw
        return raw.masked_fill(~counted, -torch.inf).logsumexp(1), counted.sum(1)


def log_scale(sums: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """Return minus the log of each row's mean raw weight, (b,); 0 for a row without negatives.

    Args:
        sums: ``sum_of_weights`` of the rows among several sets of columns.
    """
    log_sums, numbers = zip(*sums, strict=True)
    number, total = torch.stack(numbers).sum(0), torch.stack(log_sums).logsumexp(0)
    mean = total - number.clamp(min=1).to(total.dtype).log()
    return torch.where(number > 0, -mean, torch.zeros_like(mean))


class NegativesOnly(Negatives):
    """Log-weights of the pairs of some rows with columns that hold none of their own pairs."""

    has_own = False


class PastNegatives(NegativesOnly):
    """Log-weights of the pairs of some rows with the columns of a past global batch.

    Older copies of a row are masked.

    Args:
        rows: As for ``Negatives``, with row numbers.
        batch: The past batch.
        source: Rows of ``similarity_source`` for ``rows``; ``None`` without weights.
        weights: As for ``Negatives``.
        duplicate_threshold: As for ``Negatives``.
        hardness: As for ``Negatives``.
    """

    def __init__(
        self,
        rows: BatchInfo,
        batch: MemoryBatch,
        source: torch.Tensor | None,
        weights: SimilarityWeights | None = None,
        duplicate_threshold: float = 1.0,
        hardness: float = 0.0,
    ) -> None:
        sources = None
        if source is not None and batch.source is not None:
            sources = (source, batch.source)
        known = (rows, batch.info, sources, 0, weights, duplicate_threshold)
        super().__init__(*known, hardness=hardness)
        self.batch = batch

    def known_positives(self, block: slice) -> torch.Tensor:
        """Return (block, B) bool: known positives, and older copies of a row."""
        known = super().known_positives(block)
        copies: torch.Tensor = self.rows.rows[block, None] == self.columns.rows[None, :]
        return copies if known is None else known.logical_or_(copies)
