"""The base class of losses: what a subclass gets without writing it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hardpairs.core.components import Options, option
from hardpairs.losses import LossContext
from hardpairs.losses.base import Loss


class Scaled(Loss):
    """A loss with one option."""

    @dataclass(frozen=True)
    class Config(Options):
        """Options."""

        factor: float = option(2.0, "factor", minimum=0)

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, image_features, text_features, logit_scale, logit_bias=None, *, info=None):
        return self.factor * logit_scale


def test_options_are_the_constructors_arguments():
    loss = Scaled.from_config(Scaled.Config(factor=3), LossContext())
    assert loss(None, None, torch.tensor(5.0)) == 15 and loss.statistics() == ({}, None)
    assert Scaled.from_config(Scaled.Config(), LossContext()).factor == 2


def test_a_loss_of_pairs_is_the_default():
    assert Scaled.part == "contrastive_loss"
    assert not Scaled.needs_labels and not Scaled.needs_class_weights
    context = LossContext()
    assert context.world.world_size == 1 and context.group_ids is None and context.width == 0
