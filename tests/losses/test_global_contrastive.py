"""The global contrastive loss against loops over pairs and steps."""

import math

import pytest
import torch

from hardpairs.batches import HARD_PAIR, RANDOM, TARGET, BatchInfo
from hardpairs.core.errors import UserError
from hardpairs.losses import LOSSES, GlobalLoss, LossContext
from hardpairs.losses.gather import World
from tests.losses.helpers import SCALE, features

ROWS = [torch.tensor(rows) for rows in ([0, 1, 2, 3, 4, 5], [4, 5, 0, 9, 2, 7], [7, 8, 9, 0, 1, 2])]
GROUPS = torch.tensor([0, 1, 2, 2, 4, 5, 6, 7, 7, 9])
ROLES = torch.tensor([TARGET, HARD_PAIR, TARGET, RANDOM, TARGET, HARD_PAIR])


def info_of(rows, mined, **more):
    targets = torch.where(ROLES == HARD_PAIR, rows.roll(1), rows) if mined else rows
    roles = ROLES if mined else torch.full_like(ROLES, TARGET)
    return BatchInfo(rows=rows, roles=roles, targets=targets, group_ids=GROUPS[rows, None], **more)


class Naive:
    """The loss by its definition, with normalizers in a dictionary."""

    def __init__(self, gamma, eps, rho=None):
        self.gamma, self.eps, self.rho, self.normalizers = gamma, eps, rho, {}

    def step(self, image, text, scale, info, reference=None):
        similarity = image @ text.T
        if reference is not None:
            similarity = similarity - reference[0] @ reference[1].T
        count, losses, logs, new = len(image), [], [], {}
        for side, matrix in enumerate((similarity, similarity.T)):
            for i in range(count):
                negatives = [
                    j for j in range(count) if info.group_ids[i, 0] != info.group_ids[j, 0]
                ]
                by_chance = [
                    j
                    for j in negatives
                    if info.roles[j] != HARD_PAIR and info.targets[i] != info.targets[j]
                ]
                excess = (scale * (matrix[i] - matrix[i, i])).exp()
                g, of_chance = excess[negatives].mean(), excess[by_chance].mean().item()
                old = self.normalizers.get((side, int(info.rows[i])))
                total = g.item() if old is None else (1 - self.gamma) * old + self.gamma * g.item()
                losses.append(g / (total + self.eps))
                logs.append(math.log(total + self.eps))
                new[side, int(info.rows[i])] = (
                    of_chance if old is None else (1 - self.gamma) * old + self.gamma * of_chance
                )
        self.normalizers |= new
        loss = torch.stack(losses).mean()
        if self.rho is not None:
            loss = loss + scale.detach() / scale * (self.rho + sum(logs) / len(logs))
        return loss


def normalized(**options):
    loss = GlobalLoss(10, **options)
    loss.log_normalizers = loss.log_normalizers.double()
    return loss


@pytest.mark.parametrize("mined", [False, True])
@pytest.mark.parametrize("gamma", [0.3, 1.0])
@pytest.mark.parametrize(
    ("rho", "block_rows", "with_reference"), [(None, None, False), (6.5, 4, True)]
)
def test_is_its_formula(mined, gamma, rho, block_rows, with_reference):
    ours = normalized(gamma=gamma, eps=0.01, rho=rho, block_rows=block_rows)
    naive = Naive(gamma, 0.01, rho)
    for step, rows in enumerate(ROWS):
        reference = features(6, width=3, seed=50 + step) if with_reference else None
        results, info = [], info_of(rows, mined, reference_features=reference)
        for loss in (naive.step, ours):
            inputs = [side.requires_grad_() for side in (*features(6, seed=step), SCALE.clone())]
            more = {"reference": reference} if loss == naive.step else {}
            value = loss(*inputs, info=info, **more)
            value.backward()
            gradients = [side.grad for side in inputs]
            gradients[2] = gradients[2] * 0 if rho is None else gradients[2]
            results.append([value.detach(), *gradients])
        ours.end_step()
        for expected, found in zip(*results, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    for (side, row), expected in naive.normalizers.items():
        assert ours.log_normalizers[side, row].exp().item() == pytest.approx(expected, rel=1e-9)
    assert (ours.log_normalizers[:, 6] == -torch.inf).all()  # a row that no batch had


def test_a_fixed_temperature_gets_no_gradient():
    scale = SCALE.clone().requires_grad_()
    normalized()(*features(6), scale, info=info_of(ROWS[0], False)).backward()
    assert scale.grad == 0


def test_the_first_visit_has_the_gradient_of_the_batch_alone():
    """u = g: that of the logarithm of the mean over negatives."""
    image, text = (side.requires_grad_() for side in features(6))
    info = BatchInfo(rows=torch.arange(6))
    ours = torch.autograd.grad(normalized()(image, text, SCALE, info=info), (image, text))
    logits = SCALE * image @ text.T
    others = logits.masked_fill(torch.eye(6, dtype=torch.bool), -torch.inf)
    log_means = [others.logsumexp(1) - logits.diag(), others.logsumexp(0) - logits.diag()]
    expected = torch.autograd.grad(torch.stack(log_means).mean(), (image, text))
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


def test_far_above_the_own_pair_nothing_overflows():
    """Single precision, scale 100, negatives of cosine 1 and own pairs of -1: e^200 is not a number there."""
    image = torch.nn.functional.normalize(torch.ones(6, 4) + 0.01 * torch.eye(6, 4), dim=1)
    text = image.clone()
    image[0] = -image[0]
    image.requires_grad_()
    loss = GlobalLoss(10)
    for step in range(3):
        value = loss(image, text, torch.tensor(100.0), info=info_of(ROWS[step], True))
        value.backward()
        loss.end_step()
        assert value.isfinite() and image.grad.isfinite().all()
        assert value <= 1 / 0.2


def test_rows_without_negatives_learn_nothing():
    image, text = (side.requires_grad_() for side in features(6))
    info = BatchInfo(rows=torch.arange(6), group_ids=torch.zeros(6, 1, dtype=torch.int64))
    loss = GlobalLoss(10, rho=1.0)
    for _ in range(2):
        loss(image, text, SCALE, info=info).backward()
        loss.end_step()
    assert (image.grad == 0).all() and (loss.log_normalizers == -torch.inf).all()


def test_calls_of_one_step_count_once():
    loss = normalized(gamma=0.5)
    (image, text), info = features(6), info_of(ROWS[0], False)
    values = [loss(image, text, SCALE, info=info).item() for _ in range(3)]
    assert len(set(values)) == 1 and (loss.log_normalizers == -torch.inf).all()
    loss.end_step()
    before = loss.log_normalizers.clone()
    for _ in range(3):
        loss(text, image, SCALE, info=info)
    loss.end_step()
    once = normalized(gamma=0.5)
    once.log_normalizers = before
    once(text, image, SCALE, info=info)
    once.end_step()
    torch.testing.assert_close(once.log_normalizers, loss.log_normalizers)


def test_the_batchs_share_falls_by_a_cosine():
    loss = GlobalLoss(10, gamma=0.2, gamma_epochs=4)
    shares = [loss.gamma_at(epochs) for epochs in (0, 2, 4, 9)]
    assert shares == pytest.approx([1, 0.6, 0.2, 0.2])
    info = info_of(ROWS[0], False)
    loss(*features(6), SCALE, info=info)
    assert loss.statistics()[0]["global_gamma"] == 1


def test_options_and_what_a_run_knows():
    component = LOSSES.load("global")
    context = LossContext(num_rows=7, epochs=6)
    loss = component.from_config(component.Config(), context)
    assert loss.log_normalizers.shape == (2, 7) and loss.gamma_epochs == 3
    assert loss.rho is None and loss.log_eps == pytest.approx(math.log(1e-14))
    options = {"global_reference": "x", "global_rho": 8.0}
    loss = component.from_config(component.Config(**options), context)
    assert loss.rho == 8 and loss.log_eps == pytest.approx(math.log(1e-4))
    with pytest.raises(ValueError, match="memory_batches"):
        component.Config(memory_batches=2)


def test_state_and_what_is_refused():
    loss, info = GlobalLoss(10), info_of(ROWS[0], False)
    loss(*features(6), SCALE, info=info)
    loss.end_step()
    again = GlobalLoss(10)
    again.load_state(loss.state(), "cpu")
    assert torch.equal(again.log_normalizers, loss.log_normalizers)
    values = [one(*features(6, seed=3), SCALE, info=info).item() for one in (loss, again)]
    assert values[0] == values[1]
    with pytest.raises(UserError, match="10 rows"):
        GlobalLoss(11).load_state(loss.state(), "cpu")
    with pytest.raises(ValueError, match="row 9 is beyond the 9 rows"):
        GlobalLoss(9)(*features(6), SCALE, info=info_of(ROWS[1], False))
    with pytest.raises(ValueError, match=r"info\.rows"):
        loss(*features(6), SCALE)
    with pytest.raises(ValueError, match="local_loss"):
        GlobalLoss(9, world=World(0, 2, False, True))
