"""The logged numbers against loops over the pairs."""

import numpy as np
import pytest
import torch

from hardpairs.batches import BatchInfo
from hardpairs.losses import SANWLoss, SigmoidLoss, SimilarityWeights, TrainingLoss
from hardpairs.losses.statistics import logit_statistics, weight_statistics
from tests.losses.helpers import SCALE, features


def call(loss, x, y, **info):
    loss(x, y, SCALE, info=BatchInfo(**info))
    return loss.last


def test_weights_off_the_diagonal():
    x, y = features(30)
    negatives = call(SANWLoss("exp", alpha=0.3, delta=0.0, lam=9.0, normalize=True), x, y).negatives
    a = [
        0.3 * float(y[i] @ y[j]) + 0.7 * float(x[i] @ x[j])
        for i in range(30)
        for j in range(30)
        if i != j
    ]
    w = np.exp(-9 * np.maximum(a, 0))
    for rows in (7, 100):
        numbers, histogram = weight_statistics(negatives, rows)
        assert numbers["w_mean"] == pytest.approx(w.mean())
        assert numbers["w_low_pct"] == pytest.approx(100 * (w <= 1e-3).mean())
        assert numbers["w_high_pct"] == pytest.approx(100 * (w > 0.8).mean())
        assert numbers["band_coverage_pct"] == pytest.approx(100 * (w > 0.1).mean())
        assert numbers["w_sim_corr"] == pytest.approx(np.corrcoef(a, w)[0, 1])
        assert histogram.tolist() == np.histogram(w.astype(np.float32), 20, (0, 1))[0].tolist()


def test_even_weights_have_no_correlation():
    x = y = torch.eye(4)
    numbers, histogram = weight_statistics(call(SANWLoss(lam=4.0, delta=0.6), x, y).negatives)
    assert numbers == {
        "w_mean": 1,
        "w_low_pct": 0,
        "w_high_pct": 100,
        "band_coverage_pct": 100,
        "w_sim_corr": 0,
    }
    assert histogram.tolist() == [0] * 19 + [12]


@pytest.mark.parametrize("rows", [5, 100])
def test_logits(rows):
    x, y = features(12)
    positives = torch.tensor([[0], [0], [1], [2], [3], [3], [3], [4], [5], [6], [7], [8]])
    seen = call(SigmoidLoss(), x, y, group_ids=positives)
    logits = SCALE * x @ y.T
    masked = (positives == positives.T) & ~torch.eye(12, dtype=torch.bool)
    hardest = logits.masked_fill(masked | torch.eye(12, dtype=torch.bool), -1e9).amax(1).mean()
    numbers = logit_statistics(seen.image, seen.all_text, seen.scale, seen.negatives, rows)
    assert numbers["pos_logit"] == pytest.approx(logits.diagonal().mean().item(), rel=1e-6)
    assert numbers["hard_logit"] == pytest.approx(hardest.item(), rel=1e-6)
    assert numbers["masked_pct"] == pytest.approx(100 * masked.sum().item() / 132)


def test_a_loss_that_was_not_called_has_none():
    assert TrainingLoss(SigmoidLoss(weights=SimilarityWeights())).statistics() == ({}, None)
