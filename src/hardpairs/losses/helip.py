"""``helip``: CLIP's loss with a margin between hard pairs and other negatives."""

from __future__ import annotations

from dataclasses import dataclass

from hardpairs.core.components import option, register
from hardpairs.losses.pairs import ContrastiveLoss, PairOptions


@register("helip")
class HELIPLoss(ContrastiveLoss):
    """CLIP's loss plus the hard negative margin loss (arXiv 2305.05208, Eq. 7)."""

    @dataclass(frozen=True)
    class Config(PairOptions):
        """Options of all pair losses, with the margin on."""

        margin_weight: float = option(0.3, "margin's weight", minimum=0)
