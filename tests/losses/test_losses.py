"""Each loss against a double loop written from its formula, closed forms, and equalities between losses."""

import math

import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss

from hardpairs.batches import HARD_PAIR, RANDOM, BatchInfo
from hardpairs.losses import ContrastiveLoss, HardNegativeMarginLoss, SANWLoss
from hardpairs.losses.pairs import cross_entropy_both_ways

SCALE = torch.tensor(20.0, dtype=torch.float64)


def features(count=12, width=6, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        F.normalize(torch.randn(count, width, generator=generator, dtype=torch.float64), dim=1).to(
            dtype
        )
        for _ in range(2)
    )


def naive(x, y, scale, weight, positives=None):
    """(mean over rows and both directions) of -log(e^l_ii / sum_j w_ij e^l_ij), w_ii = 1."""
    total, count = 0.0, len(x)
    for queries, gallery in ((x, y), (y, x)):
        for i in range(count):
            denominator = 0.0
            for j in range(count):
                w = 1.0 if i == j else weight(float(x[i] @ x[j]), float(y[i] @ y[j]))
                if positives is not None and i != j and bool((positives[i] == positives[j]).any()):
                    w = 0.0
                denominator += w * math.exp(float(scale * (queries[i] @ gallery[j])))
            total -= float(scale * (queries[i] @ gallery[i])) - math.log(denominator)
    return total / (2 * count)


WEIGHTS = {
    "exp": lambda a: math.exp(-4 * max(a - 0.1, 0)),
    "sigmoid": lambda a: 1 - 1 / (1 + math.exp(-4 * (a - 0.1))),
    "bandpass": lambda a: max(
        1e-3, 1 / (1 + math.exp(-(a + 0.3) / 0.05)) * (1 - 1 / (1 + math.exp(-(a - 0.5) / 0.05)))
    ),
}


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


def test_worked_example():
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
    half = torch.tensor([[1.0, 0.5], [0.5, 1.0]]).log()
    assert cross_entropy_both_ways(logits, logits.T, half, 0).item() == pytest.approx(
        0.0810973, abs=1e-7
    )
    assert cross_entropy_both_ways(logits, logits.T, None, 0).item() == pytest.approx(
        0.1539263, abs=1e-7
    )


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


def weights_of(loss, x, y, **info):
    """(B, B) effective weights of image-to-text rows and, at the same places, of text-to-image rows."""
    return tuple(
        logs.exp()
        for logs in loss.negatives(x, y, BatchInfo(**info)).log_weights_both_ways(slice(0, len(x)))
    )


def test_normalized_rows_have_mean_one_and_stay_below_the_cap():
    x, y = features()
    by_row, by_column = weights_of(SANWLoss("sigmoid"), x, y)
    assert ((by_row.sum(1) - 1) / 11).numpy() == pytest.approx(1)
    torch.testing.assert_close(by_column, by_row.T, rtol=1e-12, atol=0)
    capped, _ = weights_of(SANWLoss("sigmoid", max_weight=1.2), x, y)
    assert by_row.max() > 1.2 and capped.max() <= 1.2 + 1e-12


def test_weights_far_below_any_float_still_normalise():
    x, y = features()
    by_row, _ = weights_of(SANWLoss("exp", lam=1e5, delta=-1.0, normalize=True), x, y)
    assert ((by_row.sum(1) - 1) / 11).numpy() == pytest.approx(1)


def test_exempt_pairs_keep_weight_one():
    x, y = features(6)
    exempt = torch.tensor([7, 7, 8, 8, 9, 10])
    free, _ = weights_of(SANWLoss(delta=-1.0), x, y)
    loss = SANWLoss(delta=-1.0)
    loss.exempt_hard_pairs = True
    kept, _ = weights_of(loss, x, y, targets=exempt)
    same = exempt[:, None] == exempt[None, :]
    assert (kept[same] == 1).all() and (free[0, 1] < 1) and torch.equal(kept[~same], free[~same])


def test_masked_pairs_are_out_of_the_mean_and_of_the_loss():
    x, y = features(6)
    positives = torch.tensor([[0], [0], [1], [2], [3], [4]])
    weights, _ = weights_of(SANWLoss("sigmoid"), x, y, group_ids=positives)
    assert weights[0, 1] == weights[1, 0] == 0
    assert weights[0, 2:].mean().item() == pytest.approx(1)
    everything = torch.zeros(6, 1, dtype=torch.int64)
    assert SANWLoss()(x, y, SCALE, info=BatchInfo(group_ids=everything)).item() == 0


@pytest.mark.parametrize("make", [lambda: SANWLoss("sigmoid"), lambda: HardNegativeMarginLoss(1)])
def test_near_duplicates_of_stored_rows_are_known_positives(make):
    x, y = features(12)
    stored, ids = features(12, width=3, seed=5), torch.arange(12)[:, None]
    near = torch.stack([side @ side.T > 0.6 for side in stored]).any(0) & ~torch.eye(
        12, dtype=torch.bool
    )
    assert 0.1 < near.float().mean() < 0.6
    pairs = near.nonzero()
    as_ids = torch.arange(12)[:, None].repeat(1, len(pairs)) * 1000 + torch.arange(
        len(pairs)
    )  # a column for each pair
    for column, (i, j) in enumerate(pairs):
        as_ids[j, column] = as_ids[i, column]
    expected = make()(x, y, SCALE, info=BatchInfo(group_ids=as_ids)).item()
    loss = make()
    loss.duplicate_threshold = 0.6
    info = BatchInfo(group_ids=ids, duplicate_features=stored)
    assert loss(x, y, SCALE, info=info).item() == pytest.approx(expected, rel=1e-12)
    assert make()(x, y, SCALE).item() != pytest.approx(expected, rel=1e-3)


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


@pytest.mark.parametrize(
    "make", [ContrastiveLoss, lambda: SANWLoss("exp", delta=0.0), HardNegativeMarginLoss]
)
def test_gradients(make):
    x, y = features(6)
    x.requires_grad_(), y.requires_grad_()
    loss = make()
    if isinstance(
        loss, ContrastiveLoss
    ):  # weights carry no gradient, so finite differences need them fixed
        fixed = loss.negatives(x.detach(), y.detach())
        loss.negatives = lambda *_: fixed
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, SCALE), (x, y))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_stays_finite_at_full_scale(dtype):
    x, y = features(64, 32, dtype=torch.float32)
    exact = SANWLoss(delta=0.1)(x, y, torch.tensor(100.0)).item()
    low = SANWLoss(delta=0.1)(x.to(dtype), y.to(dtype), torch.tensor(100.0, dtype=dtype)).item()
    assert low == pytest.approx(exact, rel=0.05)


def test_one_pair_has_no_negative():
    x, y = features(1)
    with pytest.raises(ValueError, match="two pairs"):
        ContrastiveLoss()(x, y, SCALE)


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": 2},
        {"beta": -1},
        {"lam": -1},
        {"m1": 0.9, "m2": 0.1},
        {"gamma": 0},
        {"floor": 0},
        {"weighting": "high"},
    ],
)
def test_impossible_values(options):
    with pytest.raises(ValueError):
        SANWLoss(**options)


def test_margin_detached_bound_leaves_hard_pairs_alone():
    x, y = features(8)
    gradients = []
    for detach in (False, True):
        text = y.clone().requires_grad_()
        HardNegativeMarginLoss(detach_bound=detach, similarity="cosine")(x, text, SCALE).backward()
        gradients.append(text.grad)
    text = y.clone().requires_grad_()
    similarity = x[::2] @ text.T
    bound = similarity[torch.arange(4), torch.arange(1, 8, 2)].detach()
    others = torch.ones(4, 8, dtype=torch.bool)
    others[torch.arange(4), torch.arange(0, 8, 2)] = others[
        torch.arange(4), torch.arange(1, 8, 2)
    ] = False
    (torch.relu(similarity - bound[:, None]) * others).sum().div(32).backward()
    torch.testing.assert_close(gradients[1], text.grad)
    assert not torch.allclose(gradients[0], text.grad)


def naive_margin(similarity, group_size, mined=None, positives=None):
    count, terms = len(similarity), []
    for i in range(0, count, group_size):
        partners = [j for j in range(i + 1, i + group_size) if mined is None or mined[j]]
        if not partners:
            continue
        bound = min(float(similarity[i, h]) for h in partners)
        total = 0.0
        for j in range(count):
            if (
                j == i
                or j in partners
                or (positives is not None and bool((positives[i] == positives[j]).any()))
            ):
                continue
            total += max(0.0, float(similarity[i, j]) - bound)
        terms.append(total / count)
    return sum(terms) / len(terms) if terms else 0.0


def test_margin_worked_example():
    similarity = torch.tensor(
        [[0.9, 0.2, 0.5, 0.6], [0.1, 0.8, 0.3, 0.4], [0.0, 0, 0, 0], [0.0, 0, 0, 0]]
    )
    order = [0, 2, 1, 3]  # target 0, its hard pair 2, target 1, its hard pair 3
    rows = similarity[order][:, order]
    assert HardNegativeMarginLoss(similarity="cosine")(
        rows, torch.eye(4), torch.tensor(1.0)
    ).item() == pytest.approx(0.0125)


@pytest.mark.parametrize("per_target", [1, 2, 3])
@pytest.mark.parametrize("direction", ["i2t", "both"])
def test_margin_is_its_formula(per_target, direction):
    x, y = features(12)
    mined = torch.rand(12, generator=torch.Generator().manual_seed(3)) > 0.4
    positives = torch.randint(0, 9, (12, 1), generator=torch.Generator().manual_seed(4))
    roles = torch.where(mined, HARD_PAIR, RANDOM)
    loss = HardNegativeMarginLoss(per_target, direction=direction)(
        x, y, SCALE, info=BatchInfo(roles=roles, group_ids=positives)
    )
    ways = [x @ y.T, y @ x.T][: 1 if direction == "i2t" else 2]
    expected = sum(
        naive_margin(SCALE * way, 1 + per_target, mined, positives) for way in ways
    ) / len(ways)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_margin_without_hard_pairs_is_zero_in_half_precision_too():
    x, y = features(8, dtype=torch.float16)
    info = BatchInfo(roles=torch.full((8,), RANDOM))
    assert HardNegativeMarginLoss()(x, y, SCALE.half(), info=info).item() == 0


def test_margin_needs_whole_groups():
    x, y = features(5)
    with pytest.raises(ValueError, match="do not divide"):
        HardNegativeMarginLoss()(x, y, SCALE)
