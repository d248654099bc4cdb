"""The squared contrastive loss by hand."""

from __future__ import annotations

import pytest
import torch

from tests.losses.helpers import library_loss


def test_positives_and_negatives_weigh_one_half_each():
    rows = torch.tensor([[1.0, 0], [0.8, 0.6], [0, 1]], dtype=torch.float64)
    near, far, middle = (0.04 + 0.36) ** 0.5, 2**0.5, (0.64 + 0.16) ** 0.5
    loss = library_loss("contrastive_squared", metric_negative_margin=1.0)
    one_positive = near**2 / 2 + ((1 - middle) ** 2 + max(0, 1 - far) ** 2) / 2 / 2
    assert loss(rows, torch.tensor([0, 0, 1])).item() == pytest.approx(one_positive)
    no_positive = ((1 - near) ** 2 + (1 - middle) ** 2) / 3 / 2
    assert loss(rows, torch.arange(3)).item() == pytest.approx(no_positive)
    assert library_loss("contrastive_squared")(rows, torch.arange(3)).item() == 0  # margin .5
    assert loss(rows, torch.zeros(3)).item() == pytest.approx((near**2 + far**2 + middle**2) / 6)


def test_equal_rows_have_a_gradient():
    rows = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    library_loss("contrastive_squared")(rows, torch.tensor([0, 0, 1])).backward()
    assert rows.grad.isfinite().all()
