"""The step log keeps the header that a file has."""

import csv
import resource
from types import SimpleNamespace

import pytest

from hardpairs.losses import ContrastiveLoss, TrainingLoss
from hardpairs.training.run_loss import RunLoss
from hardpairs.training.step_log import STEP_COLUMNS, log_statistics


def log(folder, step, **data):
    loss = RunLoss(TrainingLoss(ContrastiveLoss()), SimpleNamespace(), world_size=2)
    loss.counts.update(targets=3)
    log_data = {"loss": 0.5, **({"scale": 10.0} if "logit_scale" not in data else {}), **data}
    log_statistics(loss, folder, 0, step, log_data)
    return log_data


def rows(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_line_for_each_step(tmp_path):
    log(tmp_path, 0)
    log(tmp_path, 1, lr=0.1)
    first, second = rows(tmp_path)
    assert tuple(first) == STEP_COLUMNS
    assert (first["temp"], first["targets"], first["lr"]) == ("10.0", "6", "")
    assert (second["step"], second["lr"]) == ("1", "0.1")


def test_mains_name_of_the_scale(tmp_path):
    log(tmp_path, 0, logit_scale=12.0)
    assert rows(tmp_path)[0]["temp"] == "12.0"


def test_a_file_of_another_version_keeps_its_columns(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,loss,other\n0,1,2\n")
    log(tmp_path, 1)
    assert rows(tmp_path)[1] == {"step": "1", "loss": "0.5", "other": ""}


def test_a_write_that_fails_names_its_file(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # as on a full disk
    try:
        with pytest.raises(OSError, match="too large") as error:
            log(tmp_path, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.filename == str(tmp_path / "metrics.csv")
