"""What ties processes to the one that started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

PARENT = "HARDPAIRS_PARENT"
"""Variable with the number of the process whose children are to end with it."""
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Let the system send this process SIGTERM when its parent ends, if the parent asked for it.

    A parent that is killed cannot end its children. Only Linux can do it for it.
    """
    if os.environ.get(PARENT) != str(os.getppid()) or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.environ[PARENT] != str(os.getppid()):  # it ended before the system knew
        os.kill(os.getpid(), signal.SIGTERM)


def end_marked(variable: str, value: str) -> None:
    """Kill all processes that were started with a variable of this value, and wait for their end.

    They are what a killed process has left. Without ``/proc`` none is found.
    """
    mark = f"\0{variable}={value}\0".encode()
    while marked := [pid for pid in _other_processes() if mark in _environment(pid)]:
        for pid in marked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _other_processes() -> list[int]:
    pids = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return [pid for pid in pids if pid != os.getpid()]


def _environment(pid: int) -> bytes:
    """Return the variables that a process was started with; none of one that has ended."""
    try:
        return b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # ended, or another user's
        return b""
