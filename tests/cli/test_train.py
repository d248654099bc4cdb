"""The trainer's own errors as exit codes."""

import logging

import pytest

from hardpairs.cli.train import main
from hardpairs.core.errors import UserError
from tests.helpers import sample, write_tar


@pytest.fixture(autouse=True)
def own_logging():
    """The trainer adds handlers to the root logger."""
    before, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = before
    logging.root.setLevel(level)


def test_shards_without_a_number_of_samples_are_a_usage_error(tmp_path):
    """Without flags of ours, OpenCLIP's data cannot count them."""
    write_tar(tmp_path / "0.tar", {f"{i:04d}": sample(i) for i in range(8)})
    model = ("--model", "hardpairs-test", "--device", "cpu", "--precision", "fp32")
    data = ("--train-data", f"{tmp_path}/0.tar", "--dataset-type", "webdataset")
    with pytest.raises(UserError, match="--train-num-samples") as error:
        main([*model, *data, "--batch-size", "4", "--workers", "0", "--logs", str(tmp_path)])
    assert error.value.code == 2
