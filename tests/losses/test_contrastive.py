"""The contrastive losses by hand."""

import pytest
import torch

from hardpairs.losses.contrastive_squared import SquaredContrastive
from tests.losses.helpers import library_loss


def test_contrastive_by_hand():
    rows = torch.tensor([[1.0, 0], [0.8, 0.6], [0, 1]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1])
    near, far, middle = (0.04 + 0.36) ** 0.5, 2**0.5, (0.64 + 0.16) ** 0.5
    loss = library_loss("contrastive", metric_negative_margin=1.0)(rows, labels)
    assert loss.item() == pytest.approx(
        near + (1 - middle)
    )  # the pair at 1.41 is beyond the margin, and not counted
    squared = SquaredContrastive(1.0)(rows, labels)
    assert squared.item() == pytest.approx(
        near**2 / 2 + ((1 - middle) ** 2 + max(0, 1 - far) ** 2) / 2 / 2
    )  # one positive, two negative pairs
    assert SquaredContrastive(1.0)(rows, torch.arange(3)).item() == pytest.approx(
        ((1 - near) ** 2 + (1 - middle) ** 2) / 3 / 2
    )
