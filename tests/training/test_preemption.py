"""Requests to stop by signal: where they wait, where they end a process at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

import pytest

from hardpairs.training.preemption import REQUESTS, SIGNALS, Stopped, StopRequests, preempted


def ask(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_request_waits_for_the_end_of_a_step(number):
    before = signal.getsignal(number)
    with REQUESTS.listening():
        REQUESTS.is_saved = False
        assert REQUESTS.wait_for(lambda: "batch") == "batch"
        ask(number)
        assert REQUESTS.asked
        assert REQUESTS.wait_for(lambda: "batch") is None
        with pytest.raises(Stopped):
            REQUESTS.check()
    assert signal.getsignal(number) == before


def test_a_request_of_one_block_does_not_end_the_process_in_the_next(monkeypatch):
    """The thread that hears of it may be late, and the next block begins with nothing to save."""
    hear = StopRequests._hear

    def late(self, pipe):
        time.sleep(0.2)
        hear(self, pipe)

    monkeypatch.setattr(StopRequests, "_hear", late)
    for _ in range(2):
        with REQUESTS.listening():
            REQUESTS.is_saved = False
            ask()
    with REQUESTS.listening():
        time.sleep(0.5)


def test_a_request_ends_a_wait():
    with REQUESTS.listening():
        REQUESTS.is_saved = False
        threading.Timer(0.2, ask).start()
        began = time.monotonic()
        assert REQUESTS.wait_for(lambda: time.sleep(60)) is None
        assert time.monotonic() - began < 30


def ended(is_saved: bool, pause: float) -> int | None:
    """The exit code of a process that gets two signals while its main thread runs no Python."""
    process = multiprocessing.get_context("fork").Process(target=busy, args=(is_saved, pause))
    process.start()
    process.join(30)
    if process.is_alive():
        process.kill()
    return process.exitcode


def busy(is_saved: bool, pause: float) -> None:
    requests = StopRequests()
    with requests.listening():
        requests.is_saved = is_saved
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # another thread gets them
        pid = os.getpid()
        threading.Thread(target=send, args=(pid, pause), daemon=True).start()
        threading.Event().wait(5)
    os._exit(3)


def send(pid: int, pause: float) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    os.kill(pid, signal.SIGTERM)
    time.sleep(pause)
    os.kill(pid, signal.SIGUSR1)


@pytest.mark.parametrize(
    ("is_saved", "pause", "code"),
    [(True, 0, 75), (False, 0, 3), (False, 2.2, 75)],
    ids=["nothing to lose", "one request twice", "a second request"],
)
def test_what_ends_at_once(is_saved, pause, code):
    assert ended(is_saved, pause) == code


def test_a_forked_process_does_not_answer():
    with REQUESTS.listening():
        REQUESTS.is_saved = False
        child = os.fork()
        if not child:
            ask(signal.SIGTERM)
            ask(signal.SIGUSR1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert not REQUESTS.asked


def test_without_state_it_says_so():
    assert preempted("").code == 75 and "no state" in preempted("").what
    assert preempted("folder").where == "folder"
