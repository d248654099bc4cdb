"""Starting the trainer: the command line, and whose exit code and message come back."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from hardpairs.core.errors import UserError
from hardpairs.training import trainer_process
from hardpairs.training.trainer_process import command_line, launch, one_machine, resuming
from tests.processes import has_ended

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
        monkeypatch.setattr(trainer_process, "command_line", lambda *_: line)

    return stand_in


def test_the_command():
    flags = ["--lr", "1"]
    assert command_line([], flags)[1:] == ["-m", "hardpairs.cli", "train", "--lr", "1"]
    several = command_line(one_machine(2), flags)
    assert several[1:3] == ["-m", "hardpairs.training.torchrun"]
    assert several[-6:] == ["-m", "--", "hardpairs.cli", "train", "--lr", "1"]


def test_flags_are_told_from_torchruns_options(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["launch", "--lr", "1"])
    with pytest.raises(UserError, match="no -- before the trainer's flags"):
        trainer_process.main()


def test_the_code_of_the_rank_that_failed_first(child, capfd, tmp_path):
    child(FAILS)
    assert launch(one_machine(2), []) == 6
    assert "error: NaN\n  rank: 1" in capfd.readouterr().err
    with open(tmp_path / "log", "wb") as log:
        assert launch(one_machine(2), [], output=log) == 6
    assert "error: NaN" in (tmp_path / "log").read_text()


def test_a_process_without_torchrun_has_no_rank(child, capfd):
    child(FAILS)
    assert launch([], []) == 6
    assert capfd.readouterr().err == "error: NaN\n"


@pytest.mark.parametrize(
    ("code", "returned"),
    [
        ("", 0),
        ("import sys; sys.exit(5)", 5),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137),
        ("import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)", 75),
    ],
)
def test_other_ends(child, code, returned):
    child(code)
    assert launch(one_machine(2), []) == returned


TELLS = """
import os, signal, sys, time
got = []
signal.signal(signal.{0}, lambda number, _: got.append(number))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # as ``run_module`` does
os.kill(os.getppid(), signal.{1})
end = time.monotonic() + 20
while not got and time.monotonic() < end:
    time.sleep(.01)
time.sleep(.3)  # for a second one
sys.exit(70 + len(got))
"""


@pytest.mark.parametrize(
    ("sent", "received"), [("SIGTERM", "SIGTERM"), ("SIGUSR1", "SIGUSR1"), ("SIGHUP", "SIGTERM")]
)
def test_signals_reach_the_trainer_once(child, sent, received):
    child(TELLS.format(received, sent))
    before = signal.signal(getattr(signal, sent), signal.SIG_DFL)  # nohup ignores SIGHUP
    try:
        assert launch(one_machine(2), []) == 71
    finally:
        signal.signal(getattr(signal, sent), before)


def test_ctrl_c_to_the_launcher_alone_ends_the_trainer(child):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        child(TELLS.format("SIGINT", "SIGINT"))
        with pytest.raises(KeyboardInterrupt):
            launch(one_machine(2), [])
    finally:
        signal.signal(signal.SIGINT, before)


STAYS = """
import os, sys, time
from hardpairs.core.processes import end_with_parent
end_with_parent()
open(sys.argv[1] + ".new", "w").write(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(60)
"""


def test_a_killed_launcher_leaves_nobody(monkeypatch, tmp_path):
    pid = tmp_path / "pid"
    line = [sys.executable, "-c", STAYS, str(pid)]
    monkeypatch.setattr(trainer_process, "command_line", lambda *_: line)
    launcher = os.fork()
    if not launcher:
        launch([], [])
        os._exit(0)
    while not pid.exists():
        time.sleep(0.01)
    os.kill(launcher, signal.SIGKILL)
    os.waitpid(launcher, 0)
    assert has_ended(int(pid.read_text()))


def test_a_run_with_a_name_goes_on_by_default(tmp_path):
    named = ["--lr", "1", "--name", "run"]
    assert resuming(named) == [*named, "--resume", "latest"]
    assert resuming(["--name=run"])[1:] == ["--resume", "latest"]
    for flags in (["--lr", "1"], [*named, "--resume", "x.pt"], [*named, "--resume=x.pt"]):
        assert resuming(flags) == flags
    elsewhere = [*named, "--remote-sync", "s3://bucket"]
    assert resuming(elsewhere) == elsewhere
    config = tmp_path / "run.yaml"
    for text, goes_on in (("name: run", True), ("name: run\nresume: x.pt", False), (": [", False)):
        config.write_text(text)
        for flags in (["--config", str(config)], [f"--config={config}"]):
            assert (resuming(flags) != flags) == goes_on
