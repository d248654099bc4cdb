"""Log sums by one product for both ways, in blocks or not: the values and gradients of two products and a plain cross entropy."""

from itertools import product

import pytest
import torch

from hardpairs.batches import BatchInfo
from hardpairs.losses import (
    ContrastiveLoss,
    GeometryLoss,
    HardNegativeMarginLoss,
    SANWLoss,
    SigmoidLoss,
    SimilarityWeights,
    World,
)
from hardpairs.losses.block_sums import CPU_ROWS, LogSums
from hardpairs.losses.log_sums import log_sums
from tests.losses.helpers import SCALE, cross_entropy_both_ways, features

IDS = torch.tensor([[0], [0], [1], [2], [3], [3], [3], [4], [5], [6], [7], [8]])
TARGETS = torch.arange(12) // 2


def by_two_products(loss, x, y, scale, info=None):
    """Return the loss by its formula, with autograd's own gradients."""
    log_weights = loss.negatives(x.detach(), y.detach(), info).log_weights(slice(0, len(x)))
    return cross_entropy_both_ways(scale * x @ y.T, scale * y @ x.T, log_weights, 0)


LOSSES = {
    "clip": ContrastiveLoss,
    "exp": lambda **more: SANWLoss(delta=0.0, **more),
    "capped": lambda **more: SANWLoss("sigmoid", max_weight=1.1, beta=0.7, **more),
    "bandpass": lambda **more: SANWLoss("bandpass", m1=-0.2, **more),
    "exp normalised": lambda **more: SANWLoss(delta=0.0, normalize=True, **more),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    "known",
    [{}, {"group_ids": IDS}, {"group_ids": IDS, "targets": TARGETS}],
    ids=["plain", "masked", "exempt"],
)
@pytest.mark.parametrize("block_rows", [None, 1, 5, 100])
def test_value_and_gradients(name, known, block_rows):
    results, info = [], BatchInfo(**known)
    in_blocks, whole = LOSSES[name](block_rows=block_rows), LOSSES[name]()
    in_blocks.exempt_hard_pairs = whole.exempt_hard_pairs = True
    for compute in (
        lambda *inputs: in_blocks(*inputs, info=info),
        lambda *inputs: by_two_products(whole, *inputs, info),
    ):
        inputs = [side.requires_grad_() for side in (*features(), SCALE.clone())]
        loss = compute(*inputs)
        loss.backward()
        results.append([loss.detach(), *(side.grad for side in inputs)])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("with_own", [True, False])
@pytest.mark.parametrize("block_rows", [None, 5])
def test_each_row_passes_on_its_own_gradient(with_own, block_rows):
    """Of a function of the sums whose gradients differ in size and sign from row to row."""
    results, loss = [], ContrastiveLoss()
    for naive in (True, False):
        x, y, scale = inputs = [side.requires_grad_() for side in (*features(), SCALE.clone())]
        negatives = loss.negatives(x.detach(), y.detach(), BatchInfo(group_ids=IDS))
        if naive:
            logits = scale * x @ y.T
            weights = negatives.log_weights(slice(0, 12))
            if not with_own:
                weights = weights.clone().fill_diagonal_(-torch.inf)
            sums = LogSums(
                (logits + weights).logsumexp(1), (logits + weights).logsumexp(0), logits.diag()
            )
        else:
            sums = log_sums(*inputs, negatives, World(), block_rows=block_rows, with_own=with_own)
        factors = torch.arange(36, dtype=torch.float64).sin().view(3, 12)
        (factors * torch.stack(sums)).sum().backward()
        results.append([*sums, *(side.grad for side in inputs)])
    for expected, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


def test_a_row_without_negatives_has_a_finite_sum():
    x, y = (side.requires_grad_() for side in features(4))
    negatives = ContrastiveLoss().negatives(x, y, BatchInfo(group_ids=torch.zeros(4, 1)))
    sums = log_sums(x, y, SCALE, negatives, World(), with_own=False)
    assert (sums.image < -1e300).all() and sums.image.isfinite().all()
    (sums.image + sums.text).sum().backward()
    assert (x.grad == 0).all() and (y.grad == 0).all()


def test_a_gradient_from_above_is_passed_on():
    x, y = features()
    x.requires_grad_()
    (single,) = torch.autograd.grad(ContrastiveLoss()(x, y, SCALE), x)
    (scaled,) = torch.autograd.grad(3 * ContrastiveLoss()(x, y, SCALE), x)
    torch.testing.assert_close(scaled, 3 * single)


@pytest.mark.parametrize("make", [SigmoidLoss, GeometryLoss, HardNegativeMarginLoss])
def test_blocks_of_the_other_losses(make):
    results = []
    for block_rows in (None, 1, 5):
        inputs = [side.requires_grad_() for side in features()]
        loss = make(block_rows=block_rows)(*inputs, *((SCALE,) if make is not GeometryLoss else ()))
        loss.backward()
        results.append([loss.detach(), *(side.grad for side in inputs)])
    for other in results[1:]:
        for one, same in zip(results[0], other, strict=True):
            torch.testing.assert_close(one, same, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.03), (torch.float16, 0.005)])
@pytest.mark.parametrize(
    "weights", [None, SimilarityWeights(delta=0.0), SimilarityWeights("bandpass", m1=-0.2)]
)
@pytest.mark.slow
def test_low_precision_at_full_scale_and_batch(dtype, tolerance, weights):
    """Scale 100, 4,096 pairs: finite, and within the tolerance of float64."""
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(4096, 64, generator=generator), dim=1)
    y = torch.nn.functional.normalize(x + 0.5 * torch.randn(4096, 64, generator=generator), dim=1)
    low = [side.to(dtype).requires_grad_() for side in (x, y)]
    loss = ContrastiveLoss(weights=weights, block_rows=1024)(*low, torch.tensor(100.0))
    loss.backward()
    exact = ContrastiveLoss(weights=weights)(x.double(), y.double(), torch.tensor(100.0).double())
    assert loss.item() == pytest.approx(exact.item(), rel=tolerance)
    assert all(side.grad.isfinite().all() for side in low)


def test_autocast_is_cliploss_under_autocast():
    from open_clip.loss import ClipLoss

    x, y = features(64, 32, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = (loss(x, y, torch.tensor(20.0)) for loss in (ContrastiveLoss(), ClipLoss()))
    assert ours.dtype == torch.float32
    assert ours.item() == pytest.approx(theirs.item(), rel=0.01)


@pytest.mark.parametrize(("count", "first", "seed"), list(product((2, 3), (None, 1), (0, 1))))
def test_tiny_batches(count, first, seed):
    x, y = features(count, seed=seed)
    torch.testing.assert_close(
        ContrastiveLoss(block_rows=first)(x, y, SCALE),
        by_two_products(ContrastiveLoss(), x, y, SCALE),
    )


@pytest.mark.parametrize("name", ["clip", "bandpass"])
def test_more_rows_than_a_cpu_holds_at_once(name):
    """Blocks that are kept, not computed again."""
    results = []
    for compute in (LOSSES[name](), lambda *inputs: by_two_products(LOSSES[name](), *inputs)):
        inputs = [side.requires_grad_() for side in (*features(2 * CPU_ROWS + 9), SCALE.clone())]
        loss = compute(*inputs)
        loss.backward()
        results.append([loss.detach(), *(side.grad for side in inputs)])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)
