"""Ctrl-C: exit code 130 and one line that is true, whatever the command is doing.

A command is interrupted by ``KeyboardInterrupt`` and keeps what it can. While modules are imported
there is nothing to keep, and an interrupt would be a traceback, or taken for a missing library by
the module that imports another. There, and before and after the command, the process ends at once.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_CODE = 130
_IMPORTING = "<frozen importlib._bootstrap>"
_GOES_ON = "finished work is kept; the same command goes on from there"


class _State:
    """State of the process when Ctrl-C comes.

    Attributes:
        is_caught: Whether ``KeyboardInterrupt`` is caught.
        kept: What is kept, for the message.
    """

    is_caught = False
    kept = ""


def run_module(name: str) -> None:
    """Run the ``main`` of a module and end the process with its exit code.

    Only what answers Ctrl-C is imported before.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_ctrl_c)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    from importlib import import_module

    from hardpairs.core.errors import run_command

    run_command(lambda: import_module(name).main())


class Held:
    """Let processes that start within the block get Ctrl-C only when ``run_module`` listens.

    Until then Python itself would answer it, with a traceback. It waits for them, and is not lost.
    """

    def __enter__(self) -> None:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)


class Caught:
    """Let Ctrl-C raise ``KeyboardInterrupt`` within the block, which the caller catches."""

    def __enter__(self) -> None:
        _State.is_caught = True

    def __exit__(self, *_: object) -> None:
        _State.is_caught = False


def goes_on(kept: str = _GOES_ON) -> None:
    """Note what is kept from now on if the command is interrupted.

    Args:
        kept: The end of the message: what is kept, and the command that goes on from it.
    """
    _State.kept = kept


def message() -> str:
    """Return the last line of an interrupted command."""
    return ": ".join(filter(None, ("interrupted", _State.kept)))


def _on_ctrl_c(_: int, frame: FrameType | None) -> None:
    if _State.is_caught and not _is_importing(frame):
        raise KeyboardInterrupt
    errors = sys.modules.get("hardpairs.core.errors")
    write_status = getattr(errors, "write_status", None)  # perhaps half of it is imported
    try:
        if write_status is None or not write_status(_CODE, message()):
            os.write(2, f"{message()}\n".encode())
        sys.stdout.flush()
        if errors is not None:
            errors.end_at_once(_CODE)
    finally:
        os._exit(_CODE)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False
