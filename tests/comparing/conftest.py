"""Images and a start model, made once for all comparisons."""

import pytest

from hardpairs.demo.classes import build_classes
from hardpairs.demo.options import DemoOptions
from hardpairs.training import trainer_process
from tests.helpers import run
from tests.processes import forking


@pytest.fixture(autouse=True)
def forked_runs():
    """Runs are forks of a process that has PyTorch imported."""
    with forking(trainer_process):
        yield


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Class folders of coloured shapes, and a start model that knows their words."""
    folder = tmp_path_factory.mktemp("pictures")
    build_classes(folder / "data", DemoOptions("scenes", 80, 4, 0, None, "classes"))
    flags = (
        "--batch-size",
        "16",
        "--max-steps",
        "2",
        "--batching",
        "random",
        "--workers",
        "0",
        "--precision",
        "fp32",
        "--device",
        "cpu",
    )
    data = (
        "--train-data",
        str(folder / "data/train"),
        "--model",
        "hardpairs-test",
        "--logs",
        str(folder),
        "--name",
        "start",
    )
    done = run("python", "-m", "training.main", *data, *flags, "--warmup", "1")
    assert done.returncode == 0, done.stderr
    return folder
