"""The three formulas that CLIPSE published under the name SANW, to reproduce its numbers.

``hardpairs.losses.sanw`` holds the loss to use.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from hardpairs.batches.info import BatchInfo
from hardpairs.losses.base import Pairs
from hardpairs.losses.negatives import Negatives
from hardpairs.losses.pairs import ContrastiveLoss

VARIANTS = ("seed-v1", "seed-v2", "seed-v3")


class SANWVariantLoss(ContrastiveLoss):
    r"""CLIPSE's published SANW losses, for one process.

    With l the logits, w the raw weights and A's diagonal set to 0:

    * ``seed-v1`` (src/losses.py until 5977c52):
      :math:`\log \sum_j (w_{ij} + [i = j]) e^{l_{ij}} - l_{ii}`. Debias gives own pairs
      w + 1 = 2, so that weights of 1 are not CLIP.
    * ``seed-v2`` (src/losses/sanw_debias.py, sanw_bandpass.py):
      :math:`\log \sum_{j \ne i} w_{ij} e^{l_{ij}} - l_{ii}`, rows of w scaled to the sum B - 1, no
      floor; text to image takes :math:`w^T`. Without the own pair in the denominator it is
      unbounded below; CLIPSE's code cuts the softmax sum at 1e-12, and so does this.
    * ``seed-v3`` (paper_artifacts/scripts/train_clipse.py):
      :math:`-\log (e^{l_{ii}} / (e^{l_{ii}} + \sum_{j \ne i} (1 + \beta w_{ij}) e^{l_{ij}}))`:
      negatives can only gain weight.

    Args:
        variant: One of ``VARIANTS``.
        **options: As for ``ContrastiveLoss``; the debias of ``seed-v2`` is the sigmoid form.

    Raises:
        ValueError: For an unknown variant, or several processes.
    """

    def __init__(self, variant: str, **options: Any) -> None:
        super().__init__(**options)
        if variant not in VARIANTS:
            raise ValueError(f"variant must be one of {VARIANTS}, not {variant!r}")
        if self.world.world_size > 1:
            raise ValueError("the published variants are for one process")
        self.variant = variant

    def contrast(self, pairs: Pairs, negatives: Negatives, info: BatchInfo) -> torch.Tensor:
        """Return the loss by the variant's formula, the mean of both directions."""
        assert negatives.weights is not None
        image, text, scale, _ = pairs
        everything = slice(0, len(image))
        own = torch.eye(len(image), dtype=torch.bool, device=image.device)
        with torch.no_grad():
            similarity = negatives.similarity(everything).clamp(-1, 1).masked_fill(own, 0)
            weight = negatives.weights.log_raw(similarity).exp()
            mask = negatives.known_positives(everything)
            if mask is not None:
                weight = weight.masked_fill(mask, 0)
        logits = scale * image @ text.T
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        one_way = {"seed-v1": _first, "seed-v2": _second, "seed-v3": _third}[self.variant]
        if self.variant == "seed-v2":
            weight = weight.masked_fill(own, 0)
            weight = weight * (len(weight) - 1) / weight.sum(1, keepdim=True).clamp(min=1e-12)
        beta = negatives.weights.beta
        to_text = one_way(logits, weight, own, beta)
        return (to_text + one_way(logits.T, weight.T, own, beta)) / 2


def _first(
    logits: torch.Tensor, weight: torch.Tensor, own: torch.Tensor, beta: float
) -> torch.Tensor:
    return ((logits + (weight + own).log()).logsumexp(1) - logits.diagonal()).mean()


def _second(
    logits: torch.Tensor, weight: torch.Tensor, own: torch.Tensor, beta: float
) -> torch.Tensor:
    log_softmax = logits.log_softmax(1)
    negatives = (weight * log_softmax.exp()).sum(1).clamp(min=1e-12).log()
    return (negatives - log_softmax.diagonal()).mean()


def _third(
    logits: torch.Tensor, weight: torch.Tensor, own: torch.Tensor, beta: float
) -> torch.Tensor:
    factor = torch.where(own, 1.0, 1 + beta * weight)
    return F.cross_entropy(logits + factor.log(), torch.arange(len(logits), device=logits.device))
