"""Checkpoints that a run cannot go on from: exit 4, with what does not fit."""

import pytest
import torch
from torch import nn

from hardpairs.core.errors import UserError
from hardpairs.models.weight_files import save_checkpoint
from hardpairs.training.checkpoint_fit import check_optimizer, check_weights


@pytest.fixture
def run():
    """A model and its optimizer."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    return model, torch.optim.AdamW(model.parameters())


def content_of(run, **changes):
    model, optimizer = run
    weights = {f"module.{name}": value for name, value in model.state_dict().items()}
    return {"epoch": 1, "state_dict": weights, "optimizer": optimizer.state_dict(), **changes}


def check(tmp_path, content, run) -> str:
    """What is wrong with a checkpoint; empty where nothing is."""
    save_checkpoint(content, tmp_path / "a.pt")
    try:
        check_weights(tmp_path / "a.pt", run[0])
        check_optimizer(tmp_path / "a.pt", run[1])
    except UserError as error:
        assert error.code == 4
        return str(error.what)
    return ""


def test_checkpoints_of_the_run(run, tmp_path):
    assert check(tmp_path, content_of(run), run) == ""
    assert check(tmp_path, run[0].state_dict(), run) == ""  # weights alone


def test_checkpoints_of_others(run, tmp_path):
    weights = run[0].state_dict()
    lacking = {name: value for name, value in weights.items() if name != "1.bias"}
    for changes, says in (
        ({"state_dict": lacking}, "it lacks 1.bias"),
        ({"state_dict": {**weights, "2.bias": torch.ones(1)}}, "the model has no 2.bias"),
        ({"state_dict": {**weights, "1.bias": torch.ones(3)}}, r"1.bias (3,) for (2,)"),
        ({"state_dict": {**weights, "1.bias": 5}}, "1.bias None for (2,)"),
        ({"state_dict": 7}, "it holds no weights by name"),
        ({"epoch": "two"}, "its epoch is 'two'"),
        ({"epoch": -1}, "its epoch is '-1'"),
        ({"optimizer": None}, "no state of an optimizer"),
        ({"optimizer": {"param_groups": [{"params": 3}]}}, "no state of an optimizer"),
        ({"optimizer": {"param_groups": [{"params": [0]}]}}, "[1] parameters by group"),
    ):
        assert says in check(tmp_path, content_of(run, **changes), run)
    del (content := content_of(run))["state_dict"]
    assert "it has no weights" in check(tmp_path, content, run)
