"""``arcface``: classification by angles with a margin."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hardpairs.core.components import Options, option, register
from hardpairs.losses.base import LossContext
from hardpairs.losses.labels import LabelLoss, library_loss


@register("arcface")
class ArcFaceLoss(LabelLoss):
    """Cross entropy of scale * cos(angle + margin of the own class).

    Source: Deng et al., arXiv 1801.07698, Eq. 3. Past pi - margin the target's logit goes on as
    cos - margin sin(margin), so that it never rises again.
    """

    needs_class_weights = True

    @dataclass(frozen=True)
    class Config(Options):
        """Options of ArcFace."""

        metric_margin: float = option(0.5, "angle of the own class, in radians", minimum=0)
        metric_scale: float = option(64.0, "scale of the cosines", above=0)

    @classmethod
    def from_config(cls, config: Config, context: LossContext) -> LabelLoss:
        """Build the loss for the run's labels."""
        assert context.group_ids is not None
        loss = library_loss(
            "ArcFaceLoss",
            num_classes=len(context.group_ids),
            embedding_size=context.width,
            margin=torch.rad2deg(torch.tensor(config.metric_margin)).item(),
            scale=config.metric_scale,
        )
        return cls(loss, group_ids=context.group_ids, world=context.world)
