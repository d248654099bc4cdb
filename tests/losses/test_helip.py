"""HELIP's loss: CLIP's, plus .3 of the margin loss."""

from __future__ import annotations

import pytest
import torch

from hardpairs.losses import HardNegativeMarginLoss, LossContext, build_loss
from hardpairs.losses.helip import HELIPLoss
from tests.losses.helpers import SCALE, features


def test_the_margin_is_on():
    x, y = features()
    parts = build_loss("helip", HELIPLoss.Config(), LossContext(hard_per_target=2))(
        x, y, SCALE, output_dict=True
    )
    margin = HardNegativeMarginLoss(2)(x, y, SCALE)
    assert margin > 0
    torch.testing.assert_close(parts["margin_loss"], 0.3 * margin)
    logits, labels = SCALE * x @ y.T, torch.arange(12)
    ways = [torch.nn.functional.cross_entropy(way, labels) for way in (logits, logits.T)]
    assert parts["contrastive_loss"].item() == pytest.approx(sum(ways).item() / 2)
