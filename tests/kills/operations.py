"""Forked processes that are killed at one of their file operations, or at a moment."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hardpairs.core.errors import run_command

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
EVENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.link")
"""Audit events of Python that change a folder; os.replace is a rename, os.unlink a removal."""
Operation = Callable[[str, tuple[Any, ...]], None]
"""Called with the event and its values, paths first; of ``fsync``, the handle."""
Main = Callable[[], int | None]


def watch(on_operation: Operation) -> None:
    """Call a function before each operation of this process that changes files; it cannot be undone."""

    def hook(event: str, values: tuple[Any, ...]) -> None:
        if event in EVENTS or (event == "open" and _writes(values)):
            on_operation(event, values)

    real = os.fsync

    def fsync(handle: int) -> None:
        on_operation("fsync", (handle,))
        real(handle)

    os.fsync = fsync
    sys.addaudithook(hook)


def _writes(values: tuple[Any, ...]) -> bool:
    return not isinstance(values[0], int) and bool(values[2] & WRITING)


def forked(
    main: Main, log: Path, *, operation: int | None = None, delay: float | None = None
) -> int:
    """Run a command in a fork of this process and return its exit code, negative for a signal.

    Args:
        main: The command's ``main``.
        log: File of what it prints.
        operation: Kill it before its file operation of this number, from 1.
        delay: Kill it after so many seconds.
    """
    return _code_of(os.waitpid(_start(main, log, operation=operation, delay=delay), 0)[1])


def _code_of(status: int) -> int:
    return os.waitstatus_to_exitcode(status)


def _start(
    main: Main,
    log: Path,
    *,
    operation: int | None = None,
    delay: float | None = None,
) -> int:
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        if delay is not None:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, max(delay, 1e-4))
        if operation is not None:
            _kill_at(operation)
        run_command(main)
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _kill_at(operation: int) -> None:
    done = 0

    def count(*_: object) -> None:
        nonlocal done
        done += 1
        if done == operation:
            os.kill(os.getpid(), signal.SIGKILL)

    watch(count)
