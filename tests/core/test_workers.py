"""A loader's worker whose parent is stopped says nothing; what else goes wrong in it is still told."""

import multiprocessing
import os
import signal
import socket
import sys
import time
from multiprocessing.reduction import DupFd

import pytest

from hardpairs.core.workers import answer_to_the_parent, useful_workers


def worker(out, pipe, init):
    """Offers a file as a tensor in shared memory is offered; ends when the parent says so."""
    os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT), 2)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    if init:
        answer_to_the_parent(0)
    address, _ = DupFd(os.open(os.devnull, os.O_RDONLY))._id
    pipe.send(address)
    assert pipe.recv() == "go on"
    try:
        raise ValueError("a fault of its own")
    except ValueError:
        sys.excepthook(*sys.exc_info())


@pytest.mark.parametrize("init", [True, False])
def test_a_parent_that_leaves_is_no_traceback(tmp_path, init):
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=worker, args=(tmp_path / "stderr", there, init))
    process.start()
    with socket.socket(socket.AF_UNIX) as taking:
        taking.connect(here.recv())  # and breaks off, as a parent that Ctrl-C stops
    if init:
        os.kill(process.pid, signal.SIGINT)
    time.sleep(0.3)
    here.send("go on")
    process.join(10)
    told = (tmp_path / "stderr").read_text()
    assert "a fault of its own" in told and process.exitcode == 0
    assert ("resource_sharer" in told) != init, told


@pytest.mark.parametrize(("batches", "started"), [(0, 0), (1, 0), (2, 2), (3, 3), (9, 4)])
def test_no_worker_is_started_for_nothing(batches, started):
    assert useful_workers(4, batches) == started
    assert useful_workers(0, batches) == 0
