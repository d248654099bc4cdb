"""The supervised contrastive loss against its formula."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.losses.helpers import library_loss


def test_supcon_by_its_formula():
    rows, labels = (
        F.normalize(torch.randn(8, 5, dtype=torch.float64), dim=1),
        torch.tensor([0, 0, 0, 1, 1, 2, 3, 3]),
    )
    logits, losses = (rows @ rows.T / 0.1).tolist(), []
    for i in range(8):
        positives = [p for p in range(8) if p != i and labels[p] == labels[i]]
        everything = sum(np.exp(logits[i][a]) for a in range(8) if a != i)
        if positives:
            losses.append(-np.mean([np.log(np.exp(logits[i][p]) / everything) for p in positives]))
    assert library_loss("supcon")(rows, labels).item() == pytest.approx(np.mean(losses))
