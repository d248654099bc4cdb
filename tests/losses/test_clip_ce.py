"""CLIP's loss by name, against OpenCLIP's own."""

from __future__ import annotations

import pytest
import torch
from open_clip.loss import ClipLoss

from hardpairs.losses import LossContext, build_loss
from hardpairs.losses.clip_ce import CLIPLoss
from hardpairs.losses.siglip import SigmoidLoss
from tests.losses.helpers import SCALE, features


def test_it_is_openclips_loss():
    x, y = features(dtype=torch.float32)
    loss = build_loss("clip_ce", CLIPLoss.Config(), LossContext())
    expected = ClipLoss()(x, y, SCALE.float()).item()
    assert loss(x, y, SCALE.float()).item() == pytest.approx(expected, rel=1e-6)


def test_a_sigmoid_model_gets_the_sigmoid_form():
    built = CLIPLoss.from_config(CLIPLoss.Config(), LossContext(sigmoid=True))
    assert type(built) is SigmoidLoss


def test_duplicate_features_need_the_mask():
    with pytest.raises(ValueError, match="needs `false_negative_mask`"):
        CLIPLoss.Config(false_negative_embeddings="emb", false_negative_mask=False)
