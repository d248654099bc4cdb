"""``sanw_bandpass``: negatives in a band of similarities count, others weigh almost nothing."""

from __future__ import annotations

from dataclasses import dataclass

from hardpairs.core.components import option, register
from hardpairs.losses.base import LossContext
from hardpairs.losses.pairs import ContrastiveLoss
from hardpairs.losses.sanw import SANWOptions, weighted_loss


@register("sanw_bandpass")
class SANWBandpassLoss(ContrastiveLoss):
    """CLIP's loss; negatives in a band of similarities weigh more than others."""

    @dataclass(frozen=True)
    class Config(SANWOptions):
        """Options of the bandpass weights."""

        sanw_m1: float = option(0.3, "lower edge of the band")
        sanw_m2: float = option(0.8, "upper edge of the band")
        sanw_gamma: float = option(0.05, "softness of the edges", above=0)

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.sanw_m1 < self.sanw_m2:
                raise ValueError("`sanw_m1` must be below `sanw_m2`")

    @classmethod
    def from_config(cls, config: Config, context: LossContext) -> ContrastiveLoss:  # type: ignore[override]
        """Build the loss."""
        values = {"m1": config.sanw_m1, "m2": config.sanw_m2, "gamma": config.sanw_gamma}
        return weighted_loss(config, context, "bandpass", **values)
