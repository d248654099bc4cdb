"""Soft targets, hard negatives and a guide's mask against loops written from their formulas."""

from dataclasses import replace

import pytest
import torch

from hardpairs.batches import BatchInfo
from hardpairs.losses import ContrastiveLoss, SANWLoss, SigmoidLoss
from hardpairs.losses.guide import GuideRule
from hardpairs.losses.targets import Blend
from tests.losses.helpers import SCALE, features, naive_soft

IDS = torch.tensor([[0], [0], [1], [2], [3], [3], [3], [4], [5], [6], [7], [8]])


def stored(seed, absent):
    """Features that are stored; row ``absent`` has none."""
    sides = features(seed=seed)
    for side in sides:
        side[absent] = 0
    return sides


OPTIONS = {
    "multi-positive": {"multi_positive": True},
    "blend": {"blend": Blend(0.3, 15.0)},
    "blend alone": {"blend": Blend(1.0, 15.0)},
    "hardness": {"hardness": 9.0},
    "guide": {"guide": GuideRule()},
    "guide with a margin": {"guide": GuideRule(0.3, 0.5)},
    "guide without a limit": {"guide": GuideRule(0.1, 1.0)},
    "all": {
        "multi_positive": True,
        "blend": Blend(0.3, 15.0),
        "hardness": 5.0,
        "guide": GuideRule(0.05, 0.3),
    },
}


def info(ids=IDS):
    return BatchInfo(group_ids=ids, guide_features=stored(1, 7), start_features=stored(2, 3))


@pytest.mark.parametrize("ids", [IDS, None], ids=["groups", "no groups"])
@pytest.mark.parametrize("block_rows", [None, 5])
@pytest.mark.parametrize("name", OPTIONS)
def test_value_and_gradients_are_the_formulas(name, block_rows, ids):
    results = []
    for compute in (
        ContrastiveLoss(block_rows=block_rows, **OPTIONS[name]),
        lambda *inputs, info: naive_soft(*inputs, info, **OPTIONS[name]),
    ):
        inputs = [side.requires_grad_() for side in (*features(), SCALE.clone())]
        loss = compute(*inputs, info=info(ids))
        loss.backward()
        results.append([loss.detach(), *(side.grad for side in inputs)])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", OPTIONS)
def test_each_option_matters(name):
    x, y = features()
    loss = ContrastiveLoss(**OPTIONS[name])(x, y, SCALE, info=info())
    assert loss.item() != pytest.approx(
        ContrastiveLoss()(x, y, SCALE, info=info()).item(), rel=0.01
    )


def test_no_share_of_the_start_model_is_the_plain_loss():
    x, y = features()
    blended = ContrastiveLoss(blend=Blend(0.0))(x, y, SCALE, info=info())
    assert blended.item() == pytest.approx(ContrastiveLoss()(x, y, SCALE, info=info()).item())


def test_the_start_model_itself_is_the_minimum():
    """With its own features and scale the gradient of its part of the targets vanishes."""
    x, y = (side.requires_grad_() for side in features())
    loss = ContrastiveLoss(blend=Blend(1.0, float(SCALE)))
    loss(x, y, SCALE, info=BatchInfo(start_features=(x.detach(), y.detach()))).backward()
    assert x.grad.abs().max() < 1e-12 and y.grad.abs().max() < 1e-12


@pytest.mark.parametrize("name", ["multi-positive", "guide with a margin"])
@pytest.mark.parametrize("block_rows", [None, 5])
def test_the_sigmoid_form(name, block_rows):
    """Known positives have label +1; a guide takes half of a term for each direction."""
    x, y = features()
    options, bias, known = OPTIONS[name], torch.tensor(-3.0).double(), info()
    loss = SigmoidLoss(block_rows=block_rows, **options)(x, y, SCALE, bias, info=known)
    same = (IDS == IDS.T) & ~torch.eye(12, dtype=torch.bool)
    logits = SCALE * x @ y.T + bias
    sign, weight = 2.0 * torch.eye(12).double() - 1, 1.0 - same.double()
    if "multi_positive" in options:
        sign, weight = torch.where(same, 1, sign), torch.ones(12, 12)
    else:
        logs = ContrastiveLoss(**options).negatives(x, y, known)
        weight = sum(way.exp() for way in logs.log_weights_both_ways(slice(0, 12))) / 2
        assert (weight == 0.5).any()
    expected = -(weight * torch.nn.functional.logsigmoid(sign * logits)).sum() / 12
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)


def test_they_go_with_weights_by_similarity():
    """Of the denominators alone; in blocks as in one piece."""
    x, y = features()
    values = []
    for block_rows in (None, 5):
        loss = SANWLoss("bandpass", m1=-0.2, block_rows=block_rows)
        loss.multi_positive, loss.blend, loss.guide = True, Blend(), GuideRule()
        values.append(loss(x, y, SCALE, info=info()).item())
    assert values[0] == pytest.approx(values[1], rel=1e-12)


@pytest.mark.parametrize("field", ["guide", "blend"])
def test_features_that_are_not_there_are_named(field):
    x, y = features()
    with pytest.raises(ValueError, match="_features` of the batch"):
        ContrastiveLoss(**OPTIONS[field])(x, y, SCALE)


@pytest.mark.parametrize("options", [{"hardness": 1.0}, {"blend": Blend()}])
def test_the_sigmoid_form_has_no_softmax_to_change(options):
    with pytest.raises(ValueError, match="softmax"):
        SigmoidLoss(**options)


@pytest.mark.parametrize("block_rows", [None, 5])
@pytest.mark.parametrize("name", ["multi-positive", "blend"])
def test_a_memory_adds_negatives_to_the_sums_alone(name, block_rows):
    """Targets are of the batch; known positives in the memory are masked."""
    x, y = features()
    old_x, old_y = features(seed=9)
    loss = ContrastiveLoss(memory_batches=1, block_rows=block_rows, **OPTIONS[name])
    present, before = (replace(info(), rows=torch.arange(12) + first) for first in (0, 100))
    before = replace(before, group_ids=IDS + 7)
    loss(old_x, old_y, SCALE, info=before)
    loss.end_step()
    masked = torch.zeros(12, 12).double().masked_fill(IDS == before.group_ids.T, -torch.inf)
    alone = ContrastiveLoss(**OPTIONS[name])
    expected = alone(x, y, SCALE, info=present)
    negatives = alone.negatives(x, y, present)
    for queries, gallery, old in ((x, y, old_y), (y, x, old_x)):
        logits = SCALE * queries @ gallery.T
        weights = negatives.log_weights(slice(0, 12))
        logits = logits if weights is None else logits + weights
        both = torch.cat([logits, SCALE * queries @ old.T + masked], dim=1)
        expected = expected + (both.logsumexp(1) - logits.logsumexp(1)).mean() / 2
    assert torch.isinf(masked).any()
    ours = loss(x, y, SCALE, info=present).item()
    assert ours == pytest.approx(expected.item(), rel=1e-12)
