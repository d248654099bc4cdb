"""Forked processes that are killed at one of their file operations, or at a moment."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
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
GRACE = 5.0


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


def forked_ranks(main: Main, log: Path, number: int, *, operation: int | None = None) -> list[int]:
    """Run a command in several processes as torchrun does and return their exit codes.

    Args:
        main: The command's ``main``.
        log: File of what the last process prints.
        number: Number of processes.
        operation: Kill the last process before its file operation of this number. The others are
            killed when they have not ended after ``GRACE`` seconds, as torchrun would do.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    children = []
    for rank in range(number):
        own = {**world, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        at = operation if rank == number - 1 else None
        children.append(_start(main, log.with_name(f"log{rank}"), environment=own, operation=at))
    last = _code_of(os.waitpid(children.pop(), 0)[1])
    log.write_bytes(log.with_name(f"log{number - 1}").read_bytes())
    end = time.monotonic() + (GRACE if last else 3600)
    return [*(_code_until(child, end) for child in children), last]


def _code_until(child: int, end: float) -> int:
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return _code_of(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    return _code_of(os.waitpid(child, 0)[1])


def _code_of(status: int) -> int:
    return os.waitstatus_to_exitcode(status)


def _start(
    main: Main,
    log: Path,
    *,
    environment: dict[str, str] | None = None,
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
        os.environ.update(environment or {})
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
