"""What ties a process to the one that started it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

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
