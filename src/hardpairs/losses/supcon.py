"""``supcon``: the supervised contrastive loss."""

from __future__ import annotations

from dataclasses import dataclass

from hardpairs.core.components import Options, option, register
from hardpairs.losses.base import LossContext
from hardpairs.losses.labels import LabelLoss, library_loss


@register("supcon")
class SupConLoss(LabelLoss):
    """Supervised contrastive loss over cosines (Khosla et al., arXiv 2004.11362, Eq. 2)."""

    @dataclass(frozen=True)
    class Config(Options):
        """Options of the supervised contrastive loss."""

        metric_temperature: float = option(0.1, "temperature", above=0)

    @classmethod
    def from_config(cls, config: Config, context: LossContext) -> LabelLoss:
        """Build the loss."""
        loss = library_loss("SupConLoss", temperature=config.metric_temperature)
        return cls(loss, world=context.world)
