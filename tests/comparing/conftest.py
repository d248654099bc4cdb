"""Images and a start model, made once for all comparisons."""

import pytest

from hardpairs.comparing import runs
from hardpairs.demo.classes import build_classes
from hardpairs.demo.options import DemoOptions
from tests.helpers import run

STARTS_PROCESSES = "test_a_rate_that_diverges_is_out"
"""The test whose runs are started as a user's are."""


@pytest.fixture(autouse=True)
def forked_runs(request, monkeypatch):
    """Runs are forks of a process that has PyTorch imported."""

    def launch(options, flags, *, output):
        assert not options  # one process
        done = run("python", "-m", "hardpairs.cli", "train", *flags)
        output.write((done.stdout + done.stderr).encode())
        return done.returncode

    if request.node.name != STARTS_PROCESSES:
        monkeypatch.setattr(runs, "launch", launch)


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
