"""Processes that are killed, stopped or stuck: the others end, and name them."""

from __future__ import annotations

import os
import signal
import socket
import time

import pytest

from hardpairs.core.errors import Exit
from hardpairs.core.peers import peer_error
from tests.helpers import ROOT, run
from tests.processes import has_ended, start

PROGRAM = """
import os, sys, time
from hardpairs.core import peers
from hardpairs.core.errors import run_command
from hardpairs.core.ranks import join

def main():
    ranks = join(2)
    for step in range(10_000):
        peers.at(f"at step {step}", limited=True)
        open(f"{sys.argv[1]}/step{ranks.rank}", "w").write(str(step))
        if os.path.exists(f"{sys.argv[1]}/stick") and ranks.rank == 1:
            time.sleep(60)
        ranks.barrier()
        time.sleep(.01)

run_command(main)
"""


def has_gone_on(path) -> bool:
    return path.exists() and int(path.read_text() or 0) >= 150


@pytest.fixture
def three(tmp_path):
    """Three processes that go from step to step."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "3"}
    env |= {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    command = ("python", "-c", PROGRAM, str(tmp_path))
    processes = [
        start(command, {**env, "RANK": str(rank)}, ROOT, *2 * [tmp_path / f"told{rank}"])
        for rank in range(3)
    ]
    end = time.monotonic() + 60
    while not all(map(has_gone_on, (tmp_path / f"step{rank}" for rank in range(3)))):
        told = [path.read_text() for path in tmp_path.glob("told*")]
        assert time.monotonic() < end and all(p.is_alive() for p in processes), told
        time.sleep(0.05)
    yield processes
    for process in processes:
        process.kill()


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ("killed", "another process of this run has stopped"),
        ("stopped", "process 1 has not answered for 2 s"),
        ("first stopped", "not answered for 2 s"),
        ("stuck", "no process of the run has gone on for 2 s"),
    ],
)
def test_the_others_end_and_name_the_lost_one(three, lost, says, tmp_path):
    victim = 0 if lost == "first stopped" else 1
    if lost == "stuck":
        (tmp_path / "stick").touch()
    else:
        number = signal.SIGKILL if lost == "killed" else signal.SIGSTOP
        os.kill(three[victim].pid, number)
    others = [rank for rank in range(3) if rank != victim]
    for rank in others:
        assert has_ended(three[rank].pid, 20)
        three[rank].join()
        told = (tmp_path / f"told{rank}").read_text()
        assert three[rank].exitcode == Exit.PEER_FAILED and "Traceback" not in told, told
    # The stuck process may notice it first, and end; the others then name it as the one that did.
    who = range(3) if lost == "stuck" else others
    told = "".join((tmp_path / f"told{rank}").read_text() for rank in who)
    assert says in told and socket.gethostname() in told and "at step " in told, told
    if lost != "first stopped":  # with it the store is gone, and all look lost
        assert "process 1 on" in told


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("DataLoader worker (pid 12) is killed by signal: Killed. ", "process 12 on"),
        ("DataLoader worker (pid(s) 3, 4) exited unexpectedly", "process 3, 4 on"),
        ("[gloo/transport/tcp/pair.cc:547] Connection closed by peer", "another process"),
    ],
)
def test_errors_of_pytorch(text, says):
    error = peer_error(RuntimeError(text))
    assert error is not None and error.code == Exit.PEER_FAILED and says in error.text()
    assert peer_error(RuntimeError("shapes do not fit")) is None


def test_a_process_that_never_comes(tmp_path):
    """As one that was stopped while it started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "RANK": "0"}
    env |= {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    program = PROGRAM.replace("join(2)", "join(1.0)")
    done = run("python", "-c", program, str(tmp_path), env=env, timeout=60)
    assert done.returncode == Exit.PEER_FAILED and "Traceback" not in done.stderr
    assert "not all processes of the run have come within 1 s" in done.stderr
