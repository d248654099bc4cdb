"""``contrastive_squared``: the contrastive loss of squared Euclidean distances."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from hardpairs.core.components import Options, option, register
from hardpairs.losses.base import LossContext
from hardpairs.losses.labels import LabelLoss


@register("contrastive_squared")
class SquaredContrastiveLoss(LabelLoss):
    """Mean of d^2 of positives plus relu(margin - d)^2 of negatives (Hadsell et al., CVPR 2006).

    Positive and negative pairs weigh one half each, as in training on drawn pairs of which half are
    positive; among all pairs of a batch positives would be one in fifteen.
    """

    @dataclass(frozen=True)
    class Config(Options):
        """Options of the squared contrastive loss."""

        metric_negative_margin: float = option(0.5, "distance where negatives cost 0", minimum=0)

    @classmethod
    def from_config(cls, config: Config, context: LossContext) -> LabelLoss:
        """Build the loss."""
        return cls(SquaredContrastive(config.metric_negative_margin), world=context.world)


class SquaredContrastive(nn.Module):
    """The squared contrastive loss of embeddings and labels.

    Args:
        margin: Distance from which negatives cost 0.
    """

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of (B, D) embeddings and (B,) labels."""
        norms = embeddings.square().sum(dim=1)
        squared = (norms[:, None] + norms - 2 * embeddings @ embeddings.T).clamp(min=0)
        distance = squared.clamp(min=1e-12).sqrt()
        same = labels[:, None] == labels
        positives = same.sum() - len(labels)  # a row and itself are no pair
        negatives = (~same).sum()
        weights = torch.where(same, 0.5 / positives.clamp(min=1), 0.5 / negatives.clamp(min=1))
        terms = torch.where(same, squared, (self.margin - distance).relu().square())
        return (weights.fill_diagonal_(0) * terms).sum()
