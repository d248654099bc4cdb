"""What a number was measured on."""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def describe_machine() -> dict[str, str | int | None]:
    """Date, processor, cores, Python and the versions that matter."""
    packages = ("torch", "open_clip_torch", "numpy", "numba", "webdataset", "img2dataset")
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
    }


def _version(package: str) -> str | None:
    """Of an installed package: a part of the project measures without the others' libraries, too."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


class PeakMemory:
    """Gigabytes that this process needs at most above what it has when this is made.
    (``getrusage``'s peak may be the parent's.)
    """

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        self._before = _resident_peak()

    def gigabytes(self) -> float:
        return (_resident_peak() - self._before) * 1024 / 1e9


def _resident_peak() -> int:
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    return int(line.split()[1])
