"""SIGTERM and SIGUSR1 as a request to stop: a run saves its state and ends with exit code 75.

A Python signal handler waits until the main thread is between two instructions of Python, which may
take minutes while that thread waits for another process. A thread of its own therefore hears of
each signal at once. It ends the process where nothing would be lost, and at a second signal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeVar

from hardpairs.core.errors import Exit, UserError, end_at_once, tell

T = TypeVar("T")
_END = b"\0"
"""The number of no signal."""

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What asks a run to stop: schedulers and containers send the first, SLURM on request the other."""
ONE_REQUEST = 2.0
"""Seconds within which signals are one request: a scheduler and a launcher may both pass it on."""


class Stopped(BaseException):
    """Leaves code that waits or measures, where a request to stop came."""


class StopRequests:
    """The requests to stop that this process was sent.

    Attributes:
        asked: Whether there was one.
        is_saved: Whether all that was trained is saved, so that a request ends the process at once.
        save: Called before the process ends for a request that came between two epochs; returns
            where the state is.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.asked, self.is_saved = False, True
        self.save: Callable[[], str] = _nothing_to_save
        self._waits = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals as requests within the block; the main thread alone can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._reset()
        read, write = os.pipe()
        os.set_blocking(write, False)
        before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        woken = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        listener = threading.Thread(target=self._hear, args=(read,), daemon=True)
        listener.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.write(write, _END)
            listener.join()  # it may still read a signal of this block
            os.close(write)

    def ignore(self) -> None:
        """Give the signals their usual effect again: a run of OpenCLIP's own saves nothing."""
        for number in SIGNALS:
            if signal.getsignal(number) == self._handle:
                signal.signal(number, signal.SIG_DFL)

    def wait_for(self, get: Callable[[], T]) -> T | None:
        """Return what ``get`` returns, or ``None`` as soon as there is a request."""
        try:
            self._waits = True
            if self.asked:
                raise Stopped
            value = get()
            self._waits = False
        except Stopped:
            return None
        finally:
            self._waits = False
        return value

    def check(self) -> None:
        """Leave what is measured or embedded between two epochs if there is a request."""
        if self.asked:
            raise Stopped

    def _handle(self, *_: int | FrameType | None) -> None:
        self.asked = True
        if self._waits:
            self._waits = False
            raise Stopped

    def _hear(self, pipe: int) -> None:
        """End the process where a signal may; the thread's work until the block ends."""
        first: float | None = None
        with os.fdopen(pipe, "rb", buffering=0) as signals:
            while (number := signals.read(1)) not in (b"", _END):
                if number[0] not in SIGNALS:
                    continue
                now = time.monotonic()
                first = first or now
                if self.is_saved or now - first > ONE_REQUEST:
                    text = (_saved() if self.is_saved else _at_once()).text()
                    tell(Exit.PREEMPTED, text)
                    end_at_once(Exit.PREEMPTED)


def preempted(state: str) -> UserError:
    """Return the error that ends a run which was asked to stop (exit 75).

    Args:
        state: The file that holds the state; empty where no file does.
    """
    return UserError(
        Exit.PREEMPTED,
        "stopped by a signal" if state else "stopped by a signal; no state was saved",
        where=state,
        fix="the same command with --resume latest goes on from there" if state else "",
    )


def _saved() -> UserError:
    return UserError(
        Exit.PREEMPTED,
        "stopped by a signal; all that was trained before is saved",
        fix="the same command with --resume latest goes on from there",
    )


def _at_once() -> UserError:
    return UserError(
        Exit.PREEMPTED,
        "stopped by a second signal, before the state was saved",
        fix="--resume latest goes on from the last state that is saved, if there is one",
    )


def _nothing_to_save() -> str:
    return ""


REQUESTS = StopRequests()
"""Those of this process."""


def _forget_in_child() -> None:
    """Keep signals of a forked process, such as a loader's worker, from the parent's pipe."""
    if any(signal.getsignal(number) == REQUESTS._handle for number in SIGNALS):
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_forget_in_child)
