"""ArcFace by hand, and rows without a label."""

import numpy as np
import pytest
import torch

from hardpairs.batches import BatchInfo
from hardpairs.losses import LossContext, World
from tests.losses.helpers import library_loss
from tests.losses.labels_two_ranks import loss_of, make


def test_arcface_by_hand_on_both_sides_of_pi_minus_margin():
    loss = library_loss("arcface", LossContext(group_ids=torch.arange(2), width=2)).double()
    loss.W.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    for angle in (0.3, 3.0):
        row = torch.tensor([[np.cos(angle), np.sin(angle)]])
        own = np.cos(angle + 0.5) if angle < np.pi - 0.5 else np.cos(angle) - 0.5 * np.sin(0.5)
        expected = -np.log(np.exp(64 * own) / (np.exp(64 * own) + np.exp(64 * np.sin(angle))))
        assert loss(row, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-6)


def test_rows_without_a_class_do_not_count_for_arcface():
    model, head, *_ = make("arcface")
    loss = loss_of("arcface", head.width, {}, World())
    out = model(torch.ones(3, 4, dtype=torch.float64), torch.ones(3, 4, dtype=torch.float64))
    nothing = loss(**out, info=BatchInfo(group_ids=torch.tensor([[100], [101], [1]])))
    nothing.backward()
    assert nothing.item() == 0 and all(
        parameter.grad is not None for parameter in model.parameters()
    )  # DDP waits for every one
