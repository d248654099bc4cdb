"""``siglip``: SigLIP's pairwise sigmoid loss, with weighted or masked negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from hardpairs.batches.info import BatchInfo
from hardpairs.core.components import register
from hardpairs.losses.base import LossContext, Pairs
from hardpairs.losses.block_sums import LogitInputs, blocks_of
from hardpairs.losses.kernels import use_kernels
from hardpairs.losses.negatives import Negatives, PastNegatives
from hardpairs.losses.pairs import ContrastiveLoss, PairOptions, pair_loss
from hardpairs.losses.ring import met, ring_sum


@register("siglip")
class SigmoidLoss(ContrastiveLoss):
    r"""SigLIP's pairwise sigmoid loss.

    The sum over pairs of :math:`-w_{ij} \log \sigma(z_{ij} l_{ij})`, divided by the number of
    images (Zhai et al., arXiv 2303.15343, Alg. 1). :math:`z` is 1 for a pair and -1 otherwise;
    :math:`l` = logit_scale * cos + logit_bias. The weights are SANW's, on negative terms only; a
    known positive has weight 0, and does not count as a positive either. Equal to OpenCLIP's
    SigLipLoss without weights and masks. With a memory, the pairs of an image and a past text, and
    of a text and a past image, are further negatives.

    With ``multi_positive`` known positives have :math:`z` = 1 and weight 1. A guide takes half of a
    negative's weight for each direction in which it drops it.

    Args:
        **options: As for ``ContrastiveLoss``, but for ``hardness`` and ``blend``.

    Raises:
        ValueError: For an option that is for a softmax.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.hardness or self.blend is not None:
            raise ValueError("`hardness` and `blend` are for softmax losses, not the sigmoid form")

    @dataclass(frozen=True)
    class Config(PairOptions):
        """Options of all pair losses."""

    @classmethod
    def from_config(cls, config: PairOptions, context: LossContext) -> ContrastiveLoss:
        """Build the loss."""
        return pair_loss(config, context, cls)

    def contrast(self, pairs: Pairs, negatives: Negatives, info: BatchInfo) -> torch.Tensor:
        """Return the sigmoid form."""
        world, (image, text, scale, bias) = self.world, pairs
        if world.ring:
            return self._in_ring(pairs, negatives)
        image, all_text = image if world.local_loss else world.gather(image), world.gather(text)
        total = self._sum(image, all_text, scale, bias, negatives)
        for block in blocks_of(len(image), self.block_rows, image.device):
            for past in negatives.past:
                sides = (image[block], pairs.text[block], scale, bias, past, block)
                total = total + (
                    _past_sum(*sides)
                    if self.block_rows is None
                    else checkpoint(_past_sum, *sides, use_reentrant=False)
                )
        return total / len(image)

    def _in_ring(self, pairs: Pairs, negatives: Negatives) -> torch.Tensor:
        def term(rank: int, rows: Sequence[Any], columns: Sequence[Any]) -> torch.Tensor:
            (image, scale, bias), (text, *tensors) = rows, columns
            return self._sum(image, text, scale, bias, met(negatives, rank, tensors, self.world))

        rows, columns = (pairs.image, pairs.scale, pairs.bias), negatives.column_tensors()
        return ring_sum(term, rows, [pairs.text, *columns], self.world) / len(pairs.image)

    def _sum(
        self,
        image: torch.Tensor,
        text: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor | None,
        negatives: Negatives,
    ) -> torch.Tensor:
        """Return the sum of the terms of all pairs of some images and texts."""
        blocks = blocks_of(len(image), self.block_rows, image.device)
        if use_kernels(image, negatives):
            from hardpairs.losses.siglip_triton import sum_of_terms

            return sum_of_terms(LogitInputs(image, text, scale, negatives), bias, blocks)
        total = torch.zeros((), device=image.device)
        for block in blocks:
            arguments = (image[block], text, scale, bias, negatives, block)
            total = total + (
                _block_sum(*arguments)
                if self.block_rows is None
                else checkpoint(_block_sum, *arguments, use_reentrant=False)
            )
        return total


def _block_sum(
    image: torch.Tensor,
    all_text: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    negatives: Negatives,
    block: slice,
) -> torch.Tensor:
    logits = _logits(image, all_text, scale, bias)
    sign = torch.full_like(logits, -1)
    negatives.own(sign, block).fill_(1)
    with torch.no_grad():
        if negatives.multi_positive and (known := negatives.known_positives(block)) is not None:
            sign.masked_fill_(known, 1)
        weights = _weights(negatives, block)
    terms = -F.logsigmoid(sign * logits)
    return (terms if weights is None else terms * weights).sum()


def _weights(negatives: Negatives, block: slice) -> torch.Tensor | None:
    if negatives.guided is None:
        log_weights = negatives.log_weights(block)
        return None if log_weights is None else log_weights.exp()
    ways = [way.exp() for way in negatives.log_weights_both_ways(block) if way is not None]
    return torch.stack(ways).mean(0)


def _past_sum(
    image: torch.Tensor,
    text: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    negatives: PastNegatives,
    block: slice,
) -> torch.Tensor:
    """Return the sum over a past batch's columns, all of them negatives, in both directions."""
    with torch.no_grad():
        log_weights = negatives.log_weights(block)
        assert log_weights is not None
        weights = log_weights.exp()
    batch = negatives.batch
    to_text = F.softplus(_logits(image, batch.text, scale, bias))
    to_image = F.softplus(_logits(text, batch.image, scale, bias))
    return ((to_text + to_image) * weights).sum()


def _logits(
    rows: torch.Tensor, columns: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    logits = rows @ columns.to(rows.dtype).T
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) * scale
    return logits if bias is None else logits + bias
