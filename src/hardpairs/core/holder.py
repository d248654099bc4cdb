"""Who holds a lock or a lease: a process, known by its machine, its number and its start."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardpairs.core.shared_files import read

if TYPE_CHECKING:
    from hardpairs.core.remote import FilePath


def this_process() -> dict[str, Any]:
    """Return what tells this process apart from all others, as JSON values."""
    number = os.getpid()
    return {
        "host": socket.gethostname(),
        "space": _space(),
        "pid": number,
        "start": start_of(number),
    }


def read_holder(path: FilePath) -> dict[str, Any] | None:
    """Return what a file tells of its holder: ``None`` without a file, ``{}`` of a torn one."""
    try:
        holder = json.loads(read(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def is_here(holder: dict[str, Any]) -> bool:
    """Return whether a holder is, or was, a process of this machine, and of this container."""
    own = _space()
    return holder.get("host") == socket.gethostname() and holder.get("space", own) == own


def is_gone(holder: dict[str, Any]) -> bool:
    """Return whether a holder was a process of this machine and is no longer there."""
    return is_here(holder) and start_of(int(holder.get("pid", 0))) != holder.get("start")


def _space() -> int | None:
    """Return what tells the containers of a machine apart, each with process numbers of its own."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def start_of(pid: int) -> str | None:
    """Return when a process of this machine began, in the system's ticks; ``None`` without one."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]
