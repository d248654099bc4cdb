"""CLIP's loss with masked negatives: closed forms, equalities and gradients."""

import pytest
import torch

from hardpairs.batches import BatchInfo
from hardpairs.losses import ContrastiveLoss, HardNegativeMarginLoss, SANWLoss
from tests.losses.helpers import SCALE, cross_entropy_both_ways, features


def test_worked_example():
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
    half = torch.tensor([[1.0, 0.5], [0.5, 1.0]]).log()
    assert cross_entropy_both_ways(logits, logits.T, half, 0).item() == pytest.approx(
        0.0810973, abs=1e-7
    )
    assert cross_entropy_both_ways(logits, logits.T, None, 0).item() == pytest.approx(
        0.1539263, abs=1e-7
    )


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


def test_one_pair_has_no_negative():
    x, y = features(1)
    with pytest.raises(ValueError, match="two pairs"):
        ContrastiveLoss()(x, y, SCALE)
