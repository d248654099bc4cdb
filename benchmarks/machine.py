"""What a number was measured on."""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

MODULES = {"open_clip_torch": "open_clip"}


def describe_machine() -> dict[str, str | int | None]:
    """Date, processor, cores, Python and the versions that matter."""
    packages = ("torch", "triton", "open_clip_torch", "numpy", "numba", "webdataset", "img2dataset")
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages if find_spec(MODULES.get(name, name))},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
