"""Temporary files that outlive their writer only until somebody writes into the same folder.

A writer holds a lock (``flock``) on its temporary file until the file has its final name. The next
writer in the folder removes the temporary files that nobody holds: those of killed processes.

No file of a living writer is removed, because it is removed by a process that has its lock alone:

- A writer makes the file, locks it, and then looks whether its name is still there. Until then
  others may lock and remove it; the writer notices, and makes another file.
- Afterwards nobody else gets the lock before the file is renamed. Whoever has opened it before
  looks again, with the lock, whether that name is still the name of what it has opened.

Some file systems have no locks; there the name tells others to leave the file alone. Others, on the
network, have locks that machines do not share. So the name has the machine, and the file of another
one must have been silent for an hour, too.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hardpairs.core.shared_files import is_remote

if TYPE_CHECKING:
    from hardpairs.core.remote import FilePath

SWEEP_SECONDS = 60.0
"""A process looks through a folder at most so often: folders can have millions of files."""
SILENT_SECONDS = 3600.0
"""A file of another machine that has not changed for so long is nobody's."""
_NAME = re.compile(r"\..+\.([0-9a-f]{8})-[a-z0-9_]{8}\.tmp")
_ATTEMPTS = 5
_EXCLUSIVE = fcntl.LOCK_EX | fcntl.LOCK_NB

_swept: dict[Path, float] = {}
_held: set[int] = set()


@contextlib.contextmanager
def temporary_file(path: Path) -> Iterator[str]:
    """Make an empty file beside ``path``; the block renames or removes it, and nobody else does."""
    sweep(path.parent)
    name, handle = _make(path)
    try:
        yield name
    finally:
        _release(handle)


def sweep(folder: FilePath) -> None:
    """Remove the temporary files of killed writers from a folder; behind a URL there are none."""
    if is_remote(folder):
        return
    folder, now = folder.absolute(), time.monotonic()
    if now - _swept.get(folder, -SWEEP_SECONDS) < SWEEP_SECONDS:
        return
    _swept[folder] = now
    with contextlib.suppress(OSError):  # a folder that is not there, or cannot be read
        with os.scandir(folder) as entries:
            found = [entry.path for entry in entries if _NAME.fullmatch(entry.name)]
        for path in found:
            _remove_if_left(path)


def _make(path: Path) -> tuple[str, int | None]:
    """Return the name of a new file and the handle that holds it, where there are locks."""
    for _ in range(_ATTEMPTS):
        handle, name = _new(path, f".{path.name}.{_machine()}-")
        try:
            fcntl.flock(handle, _EXCLUSIVE)
            if _has_name(handle, name):
                _held.add(handle)
                return name, handle
        except BlockingIOError:  # somebody is about to remove it
            pass
        except OSError:  # a file system without locks
            os.unlink(name)
            break
        finally:
            if handle not in _held:
                os.close(handle)
    handle, name = _new(path, f".{path.name}.")
    os.close(handle)
    return name, None


def _new(path: Path, prefix: str) -> tuple[int, str]:
    return tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".tmp")


def _release(handle: int | None) -> None:
    if handle is not None and handle in _held:  # not in a fork, which has let go of it
        _held.remove(handle)
        os.close(handle)  # which ends the lock


def _remove_if_left(path: str) -> None:
    """Remove a file that nobody holds."""
    with contextlib.suppress(OSError):  # held, gone, somebody else's, or no locks
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)  # NFS locks for writing
        try:
            fcntl.flock(handle, _EXCLUSIVE)
            if _has_name(handle, path) and (_is_ours(path) or _is_silent(handle)):
                os.unlink(path)
        finally:
            os.close(handle)


def _has_name(handle: int, name: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), os.lstat(name))
    return False


def _is_ours(path: str) -> bool:
    match = _NAME.fullmatch(os.path.basename(path))
    return match is not None and match[1] == _machine()


def _is_silent(handle: int) -> bool:
    return time.time() - os.fstat(handle).st_mtime > SILENT_SECONDS


@cache
def _machine() -> str:
    """Return eight digits that tell this running system from others: they share its locks."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _forget() -> None:
    """Let go of what the parent of a fork holds: its locks end with the parent."""
    for handle in _held:
        os.close(handle)
    _held.clear()
    _swept.clear()


os.register_at_fork(after_in_child=_forget)
