"""Starting the trainer: the command line, and whose exit code and message come back."""

from __future__ import annotations

import sys

import pytest

from hardpairs.training import launch as launching
from hardpairs.training.launch import command_line, launch, one_machine

FAILS = """
import json, os, sys
status = {"code": 6, "message": "error: NaN", "rank": 1}
json.dump(status, open(os.environ["HARDPAIRS_STATUS_FILE"], "w"))
sys.exit(1)
"""


@pytest.fixture
def child(monkeypatch):
    """Return a function that lets a script stand in for the trainer."""

    def stand_in(code: str) -> None:
        line = [sys.executable, "-c", code]
        monkeypatch.setattr(launching, "command_line", lambda *_: line)

    return stand_in


def test_the_command():
    flags = ["--lr", "1"]
    assert command_line([], flags)[1:] == ["-m", "hardpairs.cli", "train", "--lr", "1"]
    several = command_line(one_machine(2), flags)
    assert several[1:3] == ["-m", "hardpairs.training.torchrun"]
    assert several[-6:] == ["-m", "--", "hardpairs.cli", "train", "--lr", "1"]


def test_the_code_of_the_rank_that_failed_first(child, capfd, tmp_path):
    child(FAILS)
    assert launch(one_machine(2), []) == 6
    assert "error: NaN\n  rank: 1" in capfd.readouterr().err
    with open(tmp_path / "log", "wb") as log:
        assert launch(one_machine(2), [], output=log) == 6
    assert "error: NaN" in (tmp_path / "log").read_text()


def test_a_process_without_torchrun_has_said_it_itself(child, capfd):
    child(FAILS)
    assert launch([], []) == 6
    assert not capfd.readouterr().err


@pytest.mark.parametrize(
    ("code", "returned"),
    [
        ("", 0),
        ("import sys; sys.exit(5)", 5),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137),
        ("import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)", 143),
    ],
)
def test_other_ends(child, code, returned):
    child(code)
    assert launch(one_machine(2), []) == returned
