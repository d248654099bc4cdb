"""Memory of this process, as the kernel counts it."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_bytes() -> int:
    """Return the memory of this process now; its peak where the system has no ``/proc``."""
    return _field("VmRSS")


def peak_bytes() -> int:
    """Return the most memory of this process since ``start_peak``."""
    return _field("VmHWM")


def start_peak() -> None:
    """Let the peak start anew."""
    if CLEAR.exists():
        CLEAR.write_text("5")


def _field(name: str) -> int:
    if STATUS.exists():
        lines = STATUS.read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
