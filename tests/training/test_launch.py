"""Ctrl-C to the launcher and its group at any moment, as a terminal sends it: 130, no traceback, nothing left.

``HARDPAIRS_INTERRUPTS`` is the number of moments of the slow test (20).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from tests.core.test_interrupts import check
from tests.helpers import ROOT, listen_to_ctrl_c
from tests.processes import has_ended
from tests.training.test_trainer import COMMA, TINY

MOMENTS = int(os.environ.get("HARDPAIRS_INTERRUPTS", "20"))
MARK = "HARDPAIRS_TEST_LAUNCH"


@pytest.fixture
def line(table, tmp_path):
    """The launcher of a long run on two processes."""
    flags = (*TINY, "--train-data", str(table), *COMMA, "--batch-size", "8", "--epochs", "1000")
    flags += ("--batching", "random", "--logs", str(tmp_path), "--name", "run")
    launch = (sys.executable, "-m", "hardpairs.training.launch", "--standalone")
    return (*launch, "--nproc_per_node", "2", "--", *flags)


def interrupted(line, seconds: float, *, is_started: bool) -> tuple[int, str]:
    """Return exit code and messages of a launcher that is interrupted.

    Args:
        line: Its command line.
        seconds: When, from its start on; from that of torchrun on, if it ``is_started``.
        is_started: Whether torchrun is waited for.
    """
    mark = {MARK: uuid.uuid4().hex}
    with subprocess.Popen(
        line,
        env={**os.environ, **mark, "PYTHONPATH": f"{ROOT}/src"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=listen_to_ctrl_c,
    ) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while is_started and not children.read_text():
            time.sleep(0.001)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)
        error = process.communicate(timeout=120)[1]
    assert all(has_ended(other) for other in marked(mark)), error
    return process.returncode, error


def marked(mark: dict[str, str]) -> list[int]:
    """Return the processes that have a variable."""
    ((name, value),) = mark.items()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:  # it has ended, or is another user's
            continue
        if f"{name}={value}".encode() in variables:
            found.append(int(path.parent.name))
    return found


def check_started(code: int, error: str) -> None:
    assert code == 130 and "interrupted" in error and "Traceback" not in error, (code, error)


def test_while_the_launcher_starts(line):
    check(*interrupted(line, 0.06, is_started=False))


def test_while_torchrun_starts(line):
    """Its own Python does not listen yet: Ctrl-C waits for it."""
    check_started(*interrupted(line, 0, is_started=True))


@pytest.mark.slow
def test_any_moment(line):
    rng = random.Random(0)
    for number in range(MOMENTS):
        if number % 4 == 0:
            check(*interrupted(line, rng.uniform(0.02, 0.2), is_started=False))
        else:
            check_started(*interrupted(line, 0.02 * 800 ** rng.random(), is_started=True))
