"""One job per folder: a lock file that names its holder, on local disks and on NFS."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hardpairs.core.errors import UserError, usage
from hardpairs.core.holder import is_gone, is_here, read_holder, start_of, this_process
from hardpairs.core.peers import end

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)
SIGN_SECONDS = 15.0
"""The holder signs the file so often."""
SILENT_SECONDS = 120.0
"""A holder on another machine that has not signed for so long is dead."""


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file within a block, and refuse to enter it while another process does.

    A holder is dead when this machine has no such process, or, on another machine, when it has not
    signed the file for two minutes. The lock of a dead one is taken over.

    Args:
        path: The lock file; its folder is made.
        what: What one job at a time may change, for the message.

    Raises:
        UserError: Exit 2 when another process holds it.
    """
    is_new = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {**this_process(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    _acquire(path, own, what)
    _own[path] = own
    released = threading.Event()
    arguments = (path, own, what, released)
    threading.Thread(target=_sign, args=arguments, daemon=True).start()
    try:
        yield
    finally:
        released.set()
        _release(path)
        if is_new:
            with contextlib.suppress(OSError):  # not empty, most often
                path.parent.rmdir()


_own: dict[Path, dict[str, Any]] = {}


def _release(path: Path) -> None:
    own = _own.pop(path, None)
    if own is not None and os.getpid() == own["pid"] and read_holder(path) == own:
        path.unlink(missing_ok=True)


def release_all() -> None:
    """Release the locks of a process that ends without leaving its blocks."""
    for path in [*_own]:
        _release(path)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process after the other into a block; a killed one lets the next one in.

    Args:
        folder: An existing folder, which need not be writable.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # which ends the lock


def _acquire(path: Path, own: dict[str, Any], what: str) -> None:
    mine = path.with_name(f"{path.name}.{own['host']}.{own['pid']}")
    with open(mine, "w", encoding="utf-8") as file:
        json.dump(own, file)
        file.flush()
        os.fsync(file.fileno())  # a lock that a crash has torn may be anybody's
    try:
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # of file systems without such locks
                stack.enter_context(alone(path.parent))
            _sweep(path, str(own["host"]))
            _take(path, mine, what)
    finally:
        mine.unlink(missing_ok=True)


def _sweep(path: Path, host: str) -> None:
    """Remove the files of this machine's processes that were killed while they took the lock."""
    begin = f"{path.name}.{host}."
    for left in path.parent.glob(f"{glob.escape(begin)}*"):
        pid = left.name.removeprefix(begin).partition(".")[0]
        if pid.isdigit() and start_of(int(pid)) is None:
            left.unlink(missing_ok=True)


def _take(path: Path, mine: Path, what: str) -> None:
    while True:
        with contextlib.suppress(FileExistsError):
            _put(mine, path)
            return
        holder = read_holder(path)
        if holder is not None and not _is_dead(path, holder, mine):
            raise _held(path, holder, what)
        # Only one process can move it away; what that one got may be a newer lock by now.
        moved = mine.with_name(f"{mine.name}.dead")
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, moved)
            if read_holder(moved) != holder:
                with contextlib.suppress(FileExistsError):
                    _put(moved, path)
            moved.unlink()


def _put(mine: Path, path: Path) -> None:
    """Give a file the name of the lock, unless there is one.

    Raises:
        FileExistsError: There is one.
    """
    try:
        os.link(mine, path)  # on NFS, too, one of two succeeds
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with open(path, "x", encoding="utf-8") as file:
            file.write(mine.read_text(encoding="utf-8"))


def _is_dead(path: Path, holder: dict[str, Any], mine: Path) -> bool:
    if is_here(holder):
        return is_gone(holder)
    os.utime(mine)  # the time of the server that keeps both files
    try:
        return mine.stat().st_mtime - path.stat().st_mtime > SILENT_SECONDS
    except FileNotFoundError:
        return True


def _held(path: Path, holder: dict[str, Any], what: str) -> UserError:
    return usage(
        f"another job works on {what}",
        where=f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}",
        why="two jobs would overwrite each other's files",
        fix=f"wait for its end, or choose another folder; if it is gone with its machine, try "
        f"again in {SILENT_SECONDS:.0f} s, or delete {path}",
    )


def _sign(path: Path, own: dict[str, Any], what: str, released: threading.Event) -> None:
    """Sign the lock until it is released; the thread's work."""
    while not released.wait(SIGN_SECONDS):
        holder = read_holder(path)
        if holder != own and holder and not released.is_set():
            end(_held(path, holder, what))
        with contextlib.suppress(OSError):
            os.utime(path)
