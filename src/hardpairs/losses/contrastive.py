"""``contrastive``: the contrastive loss of Euclidean distances."""

from __future__ import annotations

from dataclasses import dataclass

from hardpairs.core.components import option, register
from hardpairs.losses.base import LossContext
from hardpairs.losses.labels import LabelLoss, MinerOptions, library_loss, make_miner


@register("contrastive")
class DistanceContrastiveLoss(LabelLoss):
    """Mean of relu(d - margin) of positives plus relu(negative margin - d) of negatives.

    d is the Euclidean distance of unit rows. Each mean is over the pairs whose term is not 0.
    """

    @dataclass(frozen=True)
    class Config(MinerOptions):
        """Options of the contrastive loss."""

        metric_margin: float = option(0.0, "largest distance of positives that costs 0", minimum=0)
        metric_negative_margin: float = option(0.5, "distance where negatives cost 0", minimum=0)

    @classmethod
    def from_config(cls, config: Config, context: LossContext) -> LabelLoss:
        """Build the loss."""
        margins = {
            "pos_margin": config.metric_margin,
            "neg_margin": config.metric_negative_margin,
        }
        loss = library_loss("ContrastiveLoss", **margins)
        return cls(loss, make_miner(config.miner), world=context.world)
