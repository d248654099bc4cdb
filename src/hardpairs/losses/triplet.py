"""``triplet``: the triplet margin loss."""

from __future__ import annotations

from dataclasses import dataclass

from hardpairs.core.components import option, register
from hardpairs.losses.base import LossContext
from hardpairs.losses.labels import LabelLoss, MinerOptions, library_loss, make_miner


@register("triplet")
class TripletLoss(LabelLoss):
    """Mean of relu(d(a, p) - d(a, n) + margin) over triplets that are not 0.

    d is the Euclidean distance of unit rows (Schroff et al., arXiv 1503.03832).
    """

    @dataclass(frozen=True)
    class Config(MinerOptions):
        """Options of the triplet loss."""

        metric_margin: float = option(0.2, "margin of triplets", minimum=0)

    @classmethod
    def from_config(cls, config: Config, context: LossContext) -> LabelLoss:
        """Build the loss; the semi-hard miner has the same margin."""
        loss = library_loss("TripletMarginLoss", margin=config.metric_margin)
        return cls(loss, make_miner(config.miner, config.metric_margin), world=context.world)
