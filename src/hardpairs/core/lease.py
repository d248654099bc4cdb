"""Leases: processes that come and go share the pieces of some work through a folder.

A lease is a file that a process creates before it works on a piece, and signs until the piece is
done. It ends with its holder: at once for a process of this machine that is gone, otherwise when it
has not been signed for some time. All times are those of the server that keeps the folder, so the
clocks of the machines do not matter.

Leases save double work, and do not exclude it. A process that was stopped for longer than its lease
still works on its piece when it wakes, and another one may, too. So a piece must come out the same
whoever makes it, and appear whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import TracebackType

from hardpairs.core.holder import is_gone, read_holder, this_process

LEASE_SECONDS = 120.0
"""A lease that was not signed for so long is over. NFS shows times that are up to 60 s old."""
SIGNATURES = 8
"""Signatures within the time of a lease."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0
"""Seconds between two looks at what other processes do."""


class Leases:
    """The leases of this process on pieces of work, by name; a context within which it signs them.

    Args:
        folder: Of the files; it exists, and all processes can reach it.
        seconds: Time of a lease without a signature.

    Example:
        >>> with Leases(Path("out/.unfinished")) as leases:
        ...     for name in names:
        ...         if leases.take(name):
        ...             make(name)
        ...             leases.release(name)
    """

    def __init__(self, folder: Path, seconds: float = LEASE_SECONDS) -> None:
        self.folder, self.seconds = folder, seconds
        self._own, self._held, self._ended = this_process(), set[str](), threading.Event()

    def __enter__(self) -> Leases:
        self._ahead = _server_time(self.folder) - time.monotonic()
        threading.Thread(target=self._sign, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        for name in [*self._held]:
            self.release(name)

    def take(self, name: str) -> bool:
        """Take the lease on a piece, and return whether that was possible."""
        path = self._path(name)
        for _ in range(2):
            with contextlib.suppress(FileExistsError), open(path, "x", encoding="utf-8") as file:
                json.dump(self._own, file)
                self._held.add(name)
                return True
            if not self._is_over(path):
                return False
            path.unlink(missing_ok=True)
        return False

    def release(self, name: str) -> None:
        """Give a lease back, unless another process has taken it over."""
        self._held.discard(name)
        if read_holder(self._path(name)) == self._own:
            self._path(name).unlink(missing_ok=True)

    def holder(self, name: str) -> str:
        """Return who has the lease on a piece, for messages."""
        holder = read_holder(self._path(name))
        return f"process {holder['pid']} on {holder['host']}" if holder else "another process"

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.lease"

    def _is_over(self, path: Path) -> bool:
        holder = read_holder(path)
        if holder is None or is_gone(holder):
            return True
        try:
            return time.monotonic() + self._ahead - path.stat().st_mtime > self.seconds
        except FileNotFoundError:
            return True

    def _sign(self) -> None:
        """Sign the leases that are still this process's own; the thread's work."""
        while not self._ended.wait(self.seconds / SIGNATURES):
            for path in map(self._path, [*self._held]):
                with contextlib.suppress(OSError):
                    if read_holder(path) == self._own:
                        os.utime(path)


def _server_time(folder: Path) -> float:
    """Return the time of the server that keeps a folder: that of a file which is new there."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".time-") as file:
        return os.fstat(file.fileno()).st_mtime


def looks() -> Iterator[int]:
    """Yield 0, 1, 2 and so on, with longer and longer pauses between, to look what others do."""
    pause = FIRST_PAUSE
    for number in count():
        yield number
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
