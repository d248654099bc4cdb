"""Curves are the logs."""

import numpy as np
import pytest

from hardpairs.reporting.plots.training_curves import training_curves
from hardpairs.training.logs import read_log, read_validation
from tests.reporting.plots.helpers import texts_of


def test_curves_are_the_logs(evaluated):
    log, validation = (
        read_log(evaluated / "metrics.csv"),
        read_validation(evaluated / "checkpoints/results.jsonl"),
    )
    loss, recall = training_curves(log, validation, "lstm").axes
    assert loss.lines[0].get_xydata().tolist() == [[step, 4 / (step + 1)] for step in range(8)]
    of_text = next(line for line in recall.lines if line.get_label() == "text → image")
    assert of_text.get_xydata() == pytest.approx(np.array([[1, 10], [2, 20], [3, 30]]))
    assert "best mean: epoch 3" in " ".join(texts_of(recall))


def test_a_long_log_has_a_running_mean_and_gaps_are_no_matter():
    step = np.arange(100.0)
    noise = np.where(step % 2, 1.0, 3.0)
    noise[50] = np.nan
    axes = training_curves({"step": step, "loss": noise}, [], "x").axes[0]
    logged, mean = axes.lines
    assert len(logged.get_xdata()) == 99 and np.abs(mean.get_ydata() - 2).max() < 0.5
    assert training_curves({}, [{"epoch": 1.0, "val_loss": 2.0}], "x") is None
    assert (
        len(training_curves({"step": step[:1], "loss": noise[:1]}, [], "x").axes) == 1
    )  # one logged step
