"""Gradients and weights that are not finite stop a run before they are used or saved."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hardpairs.core.errors import UserError
from hardpairs.training.finite import stop_when_not_finite
from tests.training.test_trainer import COMMA, train


def make(rate: float = 0.1):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    stop_when_not_finite(optimizer, model)
    model(torch.ones(1, 2)).sum().backward()
    return model, optimizer


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient(value):
    model, optimizer = make()
    model[1].weight.grad[0, 0] = value
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(UserError, match=r"gradients are not finite[\s\S]*1\.weight") as caught:
        optimizer.step()
    assert caught.value.code == 6
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))


def test_weights_after_an_update():
    model, optimizer = make(rate=3e38)
    for parameter in model.parameters():
        parameter.grad.fill_(2)
    with pytest.raises(UserError, match="left weights that are not finite"):
        optimizer.step()


def test_what_is_finite_goes_on():
    model, optimizer = make()
    model[0].bias.grad = None
    optimizer.step()
    assert all(p.isfinite().all() for p in model.parameters())


def test_a_run_that_breaks_in_its_last_update_saves_nothing(table, tmp_path):
    flags = ("--train-data", str(table), *COMMA, "--batching", "random", "--batch-size", "20")
    done = train(tmp_path, "run", *flags, "--max-steps", "1", "--lr", "1e37", "--warmup", "0")
    assert done.returncode == 6, done.stderr
    assert not list((tmp_path / "run/checkpoints").glob("*.pt"))
