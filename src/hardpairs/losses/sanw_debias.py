"""``sanw_debias``: negatives that are similar to the row's own pair weigh less."""

from __future__ import annotations

from dataclasses import dataclass

from hardpairs.core.components import option, register
from hardpairs.losses.base import LossContext
from hardpairs.losses.pairs import ContrastiveLoss
from hardpairs.losses.sanw import SANWOptions, weighted_loss


@register("sanw_debias")
class SANWDebiasLoss(ContrastiveLoss):
    """CLIP's loss; similar negatives, which may be false ones, weigh less."""

    @dataclass(frozen=True)
    class Config(SANWOptions):
        """Options of the debiasing weights."""

        sanw_debias: str = option("exp", "form of the weights", choices=("exp", "sigmoid"))
        sanw_delta: float = option(0.6, "similarity where weights fall")
        sanw_lambda: float = option(4.0, "how fast it loses weight", minimum=0)

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.hardness_weight:
                raise ValueError(
                    "`hardness_weight` weighs similar negatives more, and sanw_debias weighs them "
                    "less: take sanw_debias where similar captions often fit the image, too, and "
                    "clip_ce with `hardness_weight` where they rarely do"
                )

    @classmethod
    def from_config(cls, config: Config, context: LossContext) -> ContrastiveLoss:  # type: ignore[override]
        """Build the loss."""
        values = {"delta": config.sanw_delta, "lam": config.sanw_lambda}
        return weighted_loss(config, context, config.sanw_debias, **values)
