"""SANW against a double loop written from its formula, closed forms and limits."""

import pytest
import torch
from open_clip.loss import ClipLoss

from hardpairs.batches import BatchInfo
from hardpairs.losses import ContrastiveLoss, SANWLoss
from tests.losses.helpers import SCALE, WEIGHTS, features, naive


@pytest.mark.parametrize("weighting", WEIGHTS)
@pytest.mark.parametrize("masked", [False, True])
def test_sanw_is_its_formula(weighting, masked):
    x, y = features()
    positives = (
        torch.randint(0, 8, (12, 2), generator=torch.Generator().manual_seed(1))
        + torch.tensor([0, 100])
        if masked
        else None
    )
    loss = SANWLoss(weighting, alpha=0.3, delta=0.1, m1=-0.3, m2=0.5, normalize=False)(
        x, y, SCALE, info=BatchInfo(group_ids=positives)
    )
    expected = naive(
        x, y, SCALE, lambda image, text: WEIGHTS[weighting](0.3 * text + 0.7 * image), positives
    )
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"beta": 0.0},
        {"lam": 0.0},
        {"delta": 1.01},
        {"weighting": "bandpass", "beta": 0.0},
        {"weighting": "sigmoid", "lam": 0.0},
    ],
)
def test_no_weight_is_clip(options):
    x, y = features(dtype=torch.float32)
    assert SANWLoss(**options)(x, y, SCALE.float()).item() == pytest.approx(
        ClipLoss()(x, y, SCALE.float()).item(), rel=1e-6
    )
    assert ContrastiveLoss()(x, y, SCALE.float()).item() == pytest.approx(
        ClipLoss()(x, y, SCALE.float()).item(), rel=1e-6
    )


def test_swapping_image_and_text_swaps_alpha_and_order_does_not_matter():
    x, y = features()
    loss = SANWLoss(alpha=0.2, delta=0.0)(x, y, SCALE)
    assert SANWLoss(alpha=0.8, delta=0.0)(y, x, SCALE).item() == pytest.approx(
        loss.item(), rel=1e-12
    )
    order = torch.randperm(12)
    assert SANWLoss(alpha=0.2, delta=0.0)(x[order], y[order], SCALE).item() == pytest.approx(
        loss.item(), rel=1e-12
    )


def test_less_weight_is_less_loss_and_never_below_zero():
    x, y = features()
    losses = [SANWLoss(lam=lam, delta=-1.0)(x, y, SCALE).item() for lam in (0, 1, 4, 50)]
    assert losses == sorted(losses, reverse=True) and losses[-1] >= 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_stays_finite_at_full_scale(dtype):
    x, y = features(64, 32, dtype=torch.float32)
    exact = SANWLoss(delta=0.1)(x, y, torch.tensor(100.0)).item()
    low = SANWLoss(delta=0.1)(x.to(dtype), y.to(dtype), torch.tensor(100.0, dtype=dtype)).item()
    assert low == pytest.approx(exact, rel=0.05)
