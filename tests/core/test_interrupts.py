"""Ctrl-C at any moment from the start of the process: 130, no traceback, and a hint that is true.

``HARDPAIRS_INTERRUPTS`` is the number of moments of the slow test (100).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import ROOT, listen_to_ctrl_c, picture, run
from tests.processes import start

MOMENTS = int(os.environ.get("HARDPAIRS_INTERRUPTS", "100"))
MODEL = ["--model", "hardpairs-test", "--device", "cpu"]


@pytest.fixture(scope="module")
def commands(checkpoint, tmp_path_factory) -> dict[str, list[str]]:
    """Command lines that take an output folder as their last word."""
    folder = tmp_path_factory.mktemp("data")
    lines = ["filepath,title"]
    for i in range(24):
        (folder / f"{i}.jpg").write_bytes(picture(i))
        lines.append(f"{folder}/{i}.jpg,picture {i}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    np.save(folder / "a.npy", np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32))
    table, rows = str(folder / "pairs.csv"), str(folder / "a.npy")
    model = [*MODEL, "--pretrained", str(checkpoint)]
    train = ["-m", "training.main", *MODEL, "--train-data", table, "--batch-size", "8"]
    train += ["--epochs", "2", "--workers", "0", "--batching", "random", "--precision", "fp32"]
    train += ["--csv-separator", ",", "--csv-img-key", "filepath", "--csv-caption-key", "title"]
    pairs = ["--image-embeddings", rows, "--text-embeddings", rows, "--duplicate-threshold", "2"]
    mine = ["-m", "mining.hard_pair_mining", "--dataset", "x", *pairs, "--topk", "4"]
    index = ["-m", "tools.photo_search", "index", str(folder), *model, "--workers", "0"]
    return {
        "help": ["-m", "hardpairs.cli", "--help"],
        "embed": ["-m", "mining.embed", "--csv", table, *model, "--workers", "0", "--out"],
        "mine": [*mine, "--device", "cpu", "--save_path"],
        "photos": [*index, "--out"],
        "train": [*train, "--name", "r", "--resume", "latest", "--logs"],
    }


def line(command: list[str], out: Path) -> list[str]:
    return [*command, str(out)] if command[-1].startswith("--") and len(command) > 3 else command


def interrupted(command: list[str], seconds: float) -> tuple[int, str]:
    """Run a new process, interrupt it after some seconds; return its exit code and stderr."""
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        text=True,
        preexec_fn=listen_to_ctrl_c,
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=300)[1]
    return process.returncode, error


def check(code: int, error: str) -> None:
    """Check the outcome. Until our handler is imported, Python answers in its own way.

    It does so silently as it ends the process after the command.
    """
    if "Traceback" in error:
        assert code in (1, -signal.SIGINT) and "KeyboardInterrupt" in error, error
        assert "_on_ctrl_c" not in error, error
    elif code == 130:
        assert "interrupted" in error
    else:
        assert code in (0, -signal.SIGINT), (code, error)


def test_the_start_of_a_command(commands):
    rng = random.Random(0)
    for _ in range(5):
        check(*interrupted(commands["help"], rng.uniform(0.02, 0.25)))


@pytest.mark.parametrize("name", ["mine", "train"])
def test_the_imports_of_a_command(commands, name, tmp_path):
    check(*interrupted(line(commands[name], tmp_path / "out"), random.Random(name).uniform(0.3, 1)))


@pytest.mark.slow
def test_any_moment(commands, tmp_path):
    rng = random.Random(0)
    for moment in range(MOMENTS):
        name = rng.choice(sorted(commands))
        command = line(commands[name], tmp_path / f"{moment}")
        code, error = interrupted(command, 0.01 * 600 ** rng.random())
        check(code, error)
        if "the same command goes on" in error:
            assert run("python", *command).returncode == 0, (name, error)


def test_the_hint_of_a_run_that_has_a_checkpoint(commands, tmp_path):
    """The same command without ``--resume latest`` would be refused, so the hint names it."""
    command = line(commands["train"], tmp_path)
    command[command.index("--epochs") + 1] = "1000"
    at = command.index("--resume")
    files = tmp_path / "out", tmp_path / "err"
    process = start(["python", *command[:at], *command[at + 2 :]], {}, ROOT, *files)
    while not (tmp_path / "r/checkpoints/epoch_1.pt").exists():
        assert process.is_alive(), files[1].read_text()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    error = files[1].read_text()
    assert process.exitcode == 130 and "Traceback" not in error
    assert "the same command with --resume latest goes on from the last checkpoint" in error


STEPS = """
import signal
from hardpairs.core import interrupts
from hardpairs.core.errors import run_command
signal.signal(signal.SIGINT, interrupts._on_ctrl_c)
{before}
def main():
    {body}
run_command(main)
"""


@pytest.mark.parametrize(
    ("before", "body", "says"),
    [
        ("", "signal.raise_signal(signal.SIGINT)", "interrupted\n"),
        ("signal.raise_signal(signal.SIGINT)", "pass", "interrupted\n"),
        ("interrupts.goes_on('x goes on')", "import interrupts_itself", "interrupted: x goes on\n"),
        ("import atexit; atexit.register(signal.raise_signal, 2)", "pass", "interrupted\n"),
    ],
    ids=["in the command", "before it", "in an import", "after it"],
)
def test_where_it_comes(tmp_path, before, body, says):
    program = "try:\n    import signal; signal.raise_signal(2)\nexcept BaseException:\n    pass\n"
    (tmp_path / "interrupts_itself.py").write_text(program)
    code = STEPS.format(before=before, body=body)
    done = run("python", "-c", code, env={"PYTHONPATH": f"{tmp_path}:{ROOT}/src"})
    assert (done.returncode, done.stderr) == (130, says)
