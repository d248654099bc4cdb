"""Weights with the channels last: the same embeddings, on a CPU, of depthwise convolutions alone."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from hardpairs.models.memory_format import order_for_inference


def is_channels_last(model):
    """Return whether a convolution with several rows, columns and channels has them last."""
    weights = [p for p in model.parameters() if p.ndim == 4 and min(p.shape) > 1]
    return all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


@pytest.fixture
def lite():
    torch.manual_seed(0)
    return timm.create_model("tf_efficientnet_lite0", num_classes=8).eval()


@torch.no_grad()
def test_embeddings_agree(lite):
    pixels = torch.randn(3, 3, 64, 64)
    before = lite(pixels)
    order_for_inference(lite, "cpu")
    assert is_channels_last(lite)
    after = lite(pixels)
    scale = before.abs().max()
    assert scale > 0 and (after - before).abs().max() < 1e-5 * scale


def test_other_models_and_devices_keep_their_order(lite):
    order_for_inference(lite, "cuda")
    plain = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3, groups=2))
    order_for_inference(plain, "cpu")
    assert not is_channels_last(lite) and not is_channels_last(plain)
