"""Forked processes that are killed at one of their file operations, or at a moment."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardpairs.core.errors import run_command

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
EVENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.link")
"""Audit events of Python that change a folder; os.replace is a rename, os.unlink a removal."""
Operation = Callable[[str, tuple[Any, ...]], None]
"""Called with the event and its values, paths first; of ``fsync``, the handle."""
Main = Callable[[], int | None]
KILLED = (-signal.SIGKILL, -signal.SIGALRM)


@dataclass(frozen=True)
class Kill:
    """When a process is killed.

    Attributes:
        operation: Before its file operation of this number, from 1.
        delay: After so many seconds.
        rank: The process, of several.
        grace: Seconds that the others live on.
    """

    operation: int | None = None
    delay: float | None = None
    rank: int = 0
    grace: float = 0.0


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


def forked(main: Main, log: Path, kill: Kill | None = None) -> int:
    """Run a command in a fork of this process and return its exit code, negative for a signal.

    Args:
        main: The command's ``main``.
        log: File of what it prints.
        kill: When it is killed.
    """
    return _code_of(os.waitpid(_start(main, log, kill or Kill()), 0)[1])


def forked_ranks(main: Main, log: Path, number: int, kill: Kill | None = None) -> int:
    """Run a command in several processes as torchrun does; return the exit code of one of them.

    Args:
        main: The command's ``main``.
        log: File of what that process prints.
        number: Number of processes.
        kill: The process, and when it is killed. The others are killed a moment later.

    Returns:
        The code of the process that is killed; without a kill, the first code that is not 0.
    """
    if number == 1:
        return forked(main, log, kill)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    children = []
    for rank in range(number):
        own = {**world, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        plan = kill if kill is not None and rank == kill.rank else Kill()
        children.append(_start(main, log.with_name(f"log{rank}"), plan, own))
    if kill is None:
        codes = [_code_of(os.waitpid(child, 0)[1]) for child in children]
        rank = next((rank for rank, code in enumerate(codes) if code), 0)
        code = codes[rank]
    else:
        rank = kill.rank
        code = _code_of(os.waitpid(children.pop(rank), 0)[1])
        time.sleep(kill.grace)
        _end(children, is_killed=code in KILLED)
    log.write_bytes(log.with_name(f"log{rank}").read_bytes())
    return code


def _end(children: Sequence[int], *, is_killed: bool) -> None:
    for child in children:
        if is_killed:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _code_of(status: int) -> int:
    return os.waitstatus_to_exitcode(status)


def _start(main: Main, log: Path, kill: Kill, environment: dict[str, str] | None = None) -> int:
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.environ.update(environment or {})
        if kill.delay is not None:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, max(kill.delay, 1e-4))
        if kill.operation is not None:
            _kill_at(kill.operation)
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
