"""The sigmoid loss against a double loop, and against OpenCLIP's."""

import math

import pytest
import torch
from open_clip.loss import SigLipLoss

from hardpairs.batches import BatchInfo
from hardpairs.losses import SigmoidLoss, SimilarityWeights
from tests.losses.helpers import SCALE, WEIGHTS, features

BIAS = torch.tensor(-3.0, dtype=torch.float64)


def naive(x, y, weight, positives=None):
    total = 0.0
    for i in range(len(x)):
        for j in range(len(x)):
            logit = float(SCALE * (x[i] @ y[j]) + BIAS)
            if i == j:
                total += math.log1p(math.exp(-logit))
            elif positives is None or not bool((positives[i] == positives[j]).any()):
                total += weight(0.3 * float(y[i] @ y[j]) + 0.7 * float(x[i] @ x[j])) * math.log1p(
                    math.exp(logit)
                )
    return total / len(x)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("weighting", [None, *WEIGHTS])
def test_is_its_formula(weighting, masked):
    x, y = features()
    positives = (
        torch.randint(0, 8, (12, 1), generator=torch.Generator().manual_seed(1)) if masked else None
    )
    weights = (
        SimilarityWeights(weighting, alpha=0.3, delta=0.1, m1=-0.3, m2=0.5, normalize=False)
        if weighting
        else None
    )
    loss = SigmoidLoss(weights=weights)(x, y, SCALE, BIAS, info=BatchInfo(group_ids=positives))
    assert loss.item() == pytest.approx(
        naive(x, y, WEIGHTS.get(weighting, lambda a: 1.0), positives), rel=1e-12
    )


def test_is_openclips_without_weights():
    x, y = features()
    theirs = SigLipLoss()(x, y, SCALE, BIAS)
    assert SigmoidLoss()(x, y, SCALE, BIAS).item() == pytest.approx(theirs.item(), rel=1e-12)


def test_gradients():
    x, y = (side.requires_grad_() for side in features(6))
    scale, bias = SCALE.clone().requires_grad_(), BIAS.clone().requires_grad_()
    assert torch.autograd.gradcheck(SigmoidLoss(), (x, y, scale, bias))
