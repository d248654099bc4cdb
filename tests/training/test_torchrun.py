"""What ends a run on several processes or machines is told without a traceback of torch."""

from __future__ import annotations

import json
import os
import signal
import time
from types import SimpleNamespace

import pytest

from hardpairs.core.errors import Exit, write_status
from hardpairs.training import torchrun
from tests.helpers import ROOT, run
from tests.processes import has_ended, start

WORKER = """
import os, signal, sys, time
from hardpairs.core.processes import end_with_parent
end_with_parent()
got = []
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda number, _: got.append(number))
path = os.path.join(sys.argv[1], os.environ["RANK"])
open(path + ".new", "w").write(str(os.getpid()))
os.rename(path + ".new", path)
while not got:
    time.sleep(.02)
time.sleep(.5)
sys.exit(74 + len(got))
"""
"""Stands in for the trainer: with one signal it ends with 75."""


@pytest.fixture
def running(tmp_path):
    """torchrun with two workers: the process, the workers' numbers, and a way to its end."""
    (tmp_path / "worker.py").write_text(WORKER)
    status, told = tmp_path / "status.json", tmp_path / "told"
    command = (
        "python",
        "-m",
        "hardpairs.training.torchrun",
        "--standalone",
        "--nproc_per_node",
        "2",
    )
    path = f"{ROOT / 'src'}:{ROOT}"
    env = {"HARDPAIRS_STATUS_FILE": str(status), "PYTHONPATH": path}
    line = (*command, str(tmp_path / "worker.py"), str(tmp_path))
    process = start(line, env, ROOT, told, told)
    files = [tmp_path / str(rank) for rank in range(2)]
    while not all(file.exists() for file in files):
        assert process.is_alive(), told.read_text()
        time.sleep(0.02)
    workers = [int(file.read_text()) for file in files]

    def ended() -> tuple[dict, str]:
        process.join(60)
        assert all(map(has_ended, workers))
        return json.loads(status.read_text()), told.read_text()

    yield process, workers, ended
    process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_workers_get_a_signal_once_and_have_time(running, number):
    process, _, ended = running
    os.kill(process.pid, number)
    status, told = ended()
    assert status["code"] == 75 and "Traceback" not in told


def test_a_killed_worker_is_named(running):
    _, workers, ended = running
    os.kill(workers[1], signal.SIGKILL)
    status, told = ended()
    assert status["code"] == 7 and status["rank"] == 1
    assert "process 1 was killed (SIGKILL)" in status["message"]
    assert "Traceback" not in told and "closing signal" not in told


def test_without_torchrun_its_workers_end(running):
    process, workers, _ = running
    process.kill()
    assert all(map(has_ended, workers))


def test_a_machine_that_never_comes():
    environment = {"NODES": "2", "HEAD": "localhost:29987", "PROCESSES": "1", "TIMEOUT": "2"}
    done = run("bash", "scripts/train_multinode.sh", "--lr", "1", env=environment)
    assert done.returncode == 7 and "did not find each other" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_rank_that_says_why_it_failed():
    done = run("bash", "scripts/train_node.sh", "--nothing", env={"PROCESSES": "2"})
    assert done.returncode == 2 and done.stderr.count("there is no flag --nothing") == 1
    assert "Traceback" not in done.stderr and "ChildFailedError" not in done.stderr


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (Exit.PREEMPTED, Exit.PEER_FAILED),
        (Exit.PEER_FAILED, Exit.PEER_FAILED),
        (Exit.RESOURCES, Exit.RESOURCES),
    ],
)
def test_a_kill_says_more_than_that_others_were_stopped(tmp_path, monkeypatch, said, told):
    status = tmp_path / "status.json"
    monkeypatch.setenv("HARDPAIRS_STATUS_FILE", str(status))
    write_status(said, "error: stopped by a signal", 0)
    torchrun._tell(1, SimpleNamespace(exitcode=-signal.SIGKILL))
    assert json.loads(status.read_text())["code"] == told
