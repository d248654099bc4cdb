"""The measurements of one GPU: what they do where there is none, and when a step takes too long."""

import importlib.util

import pytest
import torch

from benchmarks.gpu import FULL, SHORT, Step, main, run_steps


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(monkeypatch, tmp_path, capsys):
    out = tmp_path / "gpu.json"
    monkeypatch.setattr("sys.argv", ["gpu", "--out", str(out)])
    assert main() == 2
    assert "no GPU" in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize(("steps", "seconds"), [(FULL, 480), (SHORT, 180)])
def test_the_steps_fit_their_time_and_are_there(steps, seconds):
    assert sum(step.limit for step in steps) <= seconds
    assert all(importlib.util.find_spec(step.words[0]) for step in steps)


def test_what_was_measured_before_a_step_that_fails_is_kept():
    kept = []
    steps = (
        Step("well", ("platform",), 30),
        Step("slow", ("http.server", "0", "--bind", "127.0.0.1"), 1),
        Step("failed", ("json.tool", "no-such-file"), 30),
    )
    assert not run_steps(steps, lambda results: kept.append(dict(results)))
    assert [len(results) for results in kept] == [1, 2, 3]
    assert [result["ended"] for result in kept[-1].values()] == ["well", "limit", "failed"]
    assert "no-such-file" in kept[-1]["failed"]["output"]
