"""Target distributions of the softmax losses beside the own pair alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.checkpoint import checkpoint

from hardpairs.losses.gather import World
from hardpairs.losses.log_sums import sum_over_ranks
from hardpairs.losses.negatives import Negatives, diagonal


@dataclass(frozen=True)
class Blend:
    """The part of the targets that the start model's similarities make.

    Attributes:
        share: Their share of a row's target mass; the rest is on its positives.
        scale: Factor of the similarities in their softmax, 1 / temperature.
    """

    share: float = 0.5
    scale: float = 100.0


class SoftTargets:
    r"""Shares of the other modality's rows in the target of each image and each text.

    The loss of image i is its log sum minus :math:`\sum_j q_{ij} l_{ij}`, with

    .. math:: q_{ij} = (1 - r) \frac{[j \in P_i]}{|P_i|} + r \, \mathrm{softmax}_j(z T_{ij})

    and likewise that of text j, with its own softmax over images. :math:`P_i` is the own pair or,
    with several positives, all known positives. T are the start model's image-text similarities;
    what is masked for a row is out of its softmax. A row that the start model lacks has r = 0.

    Sources: CLIP-Refine's hybrid targets (Yamaguchi et al., CVPR 2025, arXiv 2504.12717); shared
    positives as in supervised contrastive learning (Khosla et al., arXiv 2004.11362, Eq. 2).

    Args:
        negatives: Masks, known positives and the start model's features of this rank's rows.
        blend: The start model's part; ``None``: none.
        world: With ``local_loss`` and ``gather_with_grad``, or one process.
        blocks: This rank's rows in blocks to work on at once.
    """

    def __init__(
        self, negatives: Negatives, blend: Blend | None, world: World, blocks: list[slice]
    ) -> None:
        self.negatives, self.blend, self.world, self.blocks = negatives, blend, world, blocks
        self.counts: tuple[torch.Tensor, torch.Tensor] | None = None
        if negatives.multi_positive and negatives.rows.group_ids is not None:
            counts = torch.cat([self._positives(block).sum(1) for block in blocks])
            self.counts = (counts, world.gather(counts))
        if blend is not None:
            self.start_sums = self._start_sums(blend)

    def mean_logit(
        self, image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, *, recompute: bool
    ) -> torch.Tensor:
        """Return the mean over this rank's images of the logits in both directions' targets.

        The targets of other ranks' texts count where they are about this rank's images. The mean
        over ranks is that of the joined batch.

        Args:
            image: (b, D), this rank's rows.
            text: (b, D), likewise.
            scale: (), exponentiated logit scale.
            recompute: Whether the backward pass computes each block again, to save memory.
        """
        all_text = self.world.gather(text)
        total = torch.zeros((), device=image.device)
        for block in self.blocks:
            arguments = (image[block], all_text, block)
            total = total + (
                checkpoint(self._block_sum, *arguments, use_reentrant=False)
                if recompute
                else self._block_sum(*arguments)
            )
        return scale * total / len(image)

    def _block_sum(self, image: torch.Tensor, all_text: torch.Tensor, block: slice) -> torch.Tensor:
        cosines = image @ all_text.T
        cosines = cosines.to(torch.promote_types(cosines.dtype, torch.float32))
        return (cosines * self.mass(block, cosines)).sum()

    @torch.no_grad()
    def mass(self, block: slice, like: torch.Tensor) -> torch.Tensor:
        """Return a block's target shares, q of images plus, at the same (i, j), q of texts.

        Args:
            block: The rows.
            like: A (block, B) tensor of the wanted dtype and device.
        """
        mass = self._positive_mass(block, like)
        if self.blend is None:
            return mass
        by_row, by_column = self._start_logits(block, self.blend)
        of_images, of_texts = self.start_sums
        start = (by_row - of_images[block, None]).exp_() + (by_column - of_texts).exp_()
        return mass.mul_(1 - self.blend.share).add_(start, alpha=self.blend.share)

    def _positive_mass(self, block: slice, like: torch.Tensor) -> torch.Tensor:
        if self.counts is None:
            mass = torch.zeros_like(like)
            diagonal(mass, self.negatives.first + block.start).fill_(2)
            return mass
        of_images, of_texts = (1 / count.to(like.dtype) for count in self.counts)
        return self._positives(block) * (of_images[block, None] + of_texts)

    def _positives(self, block: slice) -> torch.Tensor:
        """Return (block, B) bool: known positives and the own pair."""
        positives = self.negatives.known_positives(block)
        assert positives is not None
        diagonal(positives, self.negatives.first + block.start).fill_(True)
        return positives

    def _start_logits(self, block: slice, blend: Blend) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the start model's logits of a block for rows and for columns; -inf if masked."""
        mine, theirs = self.negatives.rows.start_features, self.negatives.columns.start_features
        if mine is None or theirs is None:
            raise ValueError("blended targets need `start_features` of the batch")
        logits = (mine[0][block] @ theirs[1].T).mul_(blend.scale)
        absent = ~mine[0][block].any(1)
        logits.masked_fill_(absent[:, None] | ~theirs[1].any(1), -torch.inf)
        diagonal(logits, self.negatives.first + block.start).masked_fill_(absent, 0)
        by_row, by_column = (
            logits if mask is None else logits.masked_fill(mask, -torch.inf)
            for mask in self.negatives.masked_both_ways(block)
        )
        return by_row, by_column

    @torch.no_grad()
    def _start_sums(self, blend: Blend) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log sums of the start model's logits: of this rank's images and of all texts."""
        rows, column_sum = [], None
        for block in self.blocks:
            by_row, by_column = self._start_logits(block, blend)
            rows.append(by_row.logsumexp(1))
            part = by_column.logsumexp(0)
            column_sum = part if column_sum is None else torch.logaddexp(column_sum, part)
        assert column_sum is not None
        return torch.cat(rows), sum_over_ranks(column_sum, self.world)
