"""hardpairs merge: real checkpoints, measured by evaluate, too."""

import json

import pytest
import torch

from hardpairs.cli.evaluate import main as evaluate
from hardpairs.cli.merge import main
from hardpairs.models.create import create_model_and_transforms
from tests.helpers import in_process


@pytest.fixture
def tuned(checkpoint, tmp_path):
    """A checkpoint near that of the start, with what a run stores beside the weights."""
    stored = torch.load(checkpoint, weights_only=True)
    torch.manual_seed(1)
    other = create_model_and_transforms("hardpairs-test")[0].state_dict()
    weights = {
        f"module.{name}": torch.lerp(value, other[name], 0.3)
        if value.is_floating_point()
        else value
        for name, value in stored["state_dict"].items()
    }
    content = {**stored, "state_dict": weights, "optimizer": {}, "ema": {"decay": 0.9}, "loss": {}}
    torch.save(content, tmp_path / "tuned.pt")
    return tmp_path / "tuned.pt"


def evaluated(path, table, out) -> float:
    line = ("--model", "hardpairs-test", "--pretrained", path, "--data", table, "--out", out)
    assert in_process(evaluate, *line, "--device", "cpu").returncode == 0
    numbers = json.loads((out / "evaluation.json").read_text())
    return (numbers["image_to_text_R@1"] + numbers["text_to_image_R@1"]) / 2


def test_the_best_share_is_written(checkpoint, tuned, table, tmp_path):
    line = (checkpoint, tuned, "--model", "hardpairs-test", "--val-data", table, "--device", "cpu")
    done = in_process(main, *line, "--watch", table, "--workers", 0, "--out", tmp_path / "m.pt")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert json.loads((tmp_path / "m.json").read_text()) == record
    measured = {one["alpha"]: one for one in record["measured"]}
    assert list(measured) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    best = max(measured.values(), key=lambda one: (one["validation"], -one["alpha"]))
    assert record["alpha"] == best["alpha"] and best["watch"] == best["validation"]
    for alpha, path in ((0.0, checkpoint), (1.0, tuned), (best["alpha"], tmp_path / "m.pt")):
        found = evaluated(path, table, tmp_path / f"out{alpha}")
        assert found == pytest.approx(measured[alpha]["validation"])
    stored = torch.load(tmp_path / "m.pt", weights_only=True)
    assert stored["merged"]["alpha"] == best["alpha"] and "vocabulary" in stored
    assert not {"optimizer", "ema", "loss"} & set(stored)


def test_shares_that_are_asked_for(checkpoint, tuned, table, tmp_path):
    line = (checkpoint, tuned, "--model", "hardpairs-test", "--val-data", table, "--device", "cpu")
    done = in_process(main, *line, "--alpha", 1, 0.5, "--workers", 0, "--out", tmp_path / "m.pt")
    record = json.loads(done.stdout)
    assert [(one["alpha"], one["watch"]) for one in record["measured"]] == [
        (0.5, None),
        (1.0, None),
    ]
    start, end = (torch.load(path, weights_only=True)["state_dict"] for path in (checkpoint, tuned))
    made = torch.load(tmp_path / "m.pt", weights_only=True)["state_dict"]["logit_scale"]
    share = record["alpha"]
    expected = (1 - share) * start["logit_scale"] + share * end["module.logit_scale"]
    torch.testing.assert_close(made, expected)
