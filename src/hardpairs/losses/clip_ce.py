"""``clip_ce``: CLIP's loss."""

from __future__ import annotations

from dataclasses import dataclass

from hardpairs.core.components import register
from hardpairs.losses.pairs import ContrastiveLoss, PairOptions


@register("clip_ce")
class CLIPLoss(ContrastiveLoss):
    """CLIP's symmetric cross entropy."""

    @dataclass(frozen=True)
    class Config(PairOptions):
        """Options of all pair losses."""
