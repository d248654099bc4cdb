"""Staging checks a training command without starting it."""

import json

import pytest

from hardpairs.cli.stage import main
from hardpairs.core.errors import UserError


def test_a_command_that_can_run(table, checkpoint, capsys):
    data = ("--train-data", str(table), "--csv-separator", ",")
    model = ("--model", "hardpairs-test", "--pretrained", str(checkpoint))
    assert main([*data, *model, "--batching", "random", "--batch-size", "8"]) == 0
    staged = json.loads(capsys.readouterr().out)
    assert staged == {
        "train_data": str(table),
        "model": "hardpairs-test",
        "pretrained": str(checkpoint),
    }


def test_a_command_that_cannot(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        main(["--train-data", str(tmp_path / "none.csv")])
