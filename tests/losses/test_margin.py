"""The hard negative margin loss against a loop written from its formula."""

import pytest
import torch

from hardpairs.batches import HARD_PAIR, RANDOM, BatchInfo
from hardpairs.losses import HardNegativeMarginLoss
from tests.losses.helpers import SCALE, features


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
