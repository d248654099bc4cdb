"""Leases: processes that come and go share the pieces of some work through a folder or a URL.

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
import threading
import time
from collections.abc import Iterator
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING

from hardpairs.core import shared_files
from hardpairs.core.errors import UserError
from hardpairs.core.holder import is_gone, read_holder, this_process

if TYPE_CHECKING:
    from hardpairs.core.remote import FilePath

LEASE_SECONDS = 120.0
"""A lease that was not signed for so long is over. NFS shows times that are up to 60 s old."""
SIGNATURES = 8
"""Signatures within the time of a lease."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0
"""Seconds between two looks at what other processes do."""


class Leases:
    """The leases of this process on pieces of work, by name; a context within which it signs them.

    Args:
        folder: Of the files; all processes can reach it. One that is not behind a URL exists.
        seconds: Time of a lease without a signature.

    Example:
        >>> with Leases(Path("out/.unfinished")) as leases:
        ...     for name in names:
        ...         if leases.take(name):
        ...             make(name)
        ...             leases.release(name)
    """

    def __init__(self, folder: FilePath, seconds: float = LEASE_SECONDS) -> None:
        self.folder, self.seconds = folder, seconds
        self._own, self._held, self._ended = this_process(), set[str](), threading.Event()
        self._content = json.dumps(self._own).encode()
        self._signing = threading.Lock()

    def __enter__(self) -> Leases:
        self._ahead = shared_files.time_at(self.folder) - time.monotonic()
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
            if shared_files.create(path, self._content):
                self._held.add(name)
                return True
            if not self._is_over(path):
                return False
            shared_files.remove(path)
        return False

    def release(self, name: str) -> None:
        """Give a lease back, unless another process has taken it over.

        One that cannot be given back ends by itself: nobody signs it any more.
        """
        with self._signing, contextlib.suppress(OSError, UserError):
            self._held.discard(name)
            if read_holder(self._path(name)) == self._own:
                shared_files.remove(self._path(name))

    def holder(self, name: str) -> str:
        """Return who has the lease on a piece, for messages."""
        holder = read_holder(self._path(name))
        return f"process {holder['pid']} on {holder['host']}" if holder else "another process"

    def _path(self, name: str) -> FilePath:
        return self.folder / f"{name}.lease"

    def _is_over(self, path: FilePath) -> bool:
        holder = read_holder(path)
        if holder is None or is_gone(holder):
            return True
        try:
            return time.monotonic() + self._ahead - shared_files.signed_at(path) > self.seconds
        except FileNotFoundError:
            return True

    def _sign(self) -> None:
        """Sign the leases that are still this process's own; the thread's work."""
        while not self._ended.wait(self.seconds / SIGNATURES):
            for name in [*self._held]:
                path = self._path(name)
                # A signature in a store is the lease anew: not after it was given back.
                with self._signing, contextlib.suppress(OSError, UserError):
                    if name in self._held and read_holder(path) == self._own:
                        shared_files.sign(path, self._content)


def looks() -> Iterator[int]:
    """Yield 0, 1, 2 and so on, with longer and longer pauses between, to look what others do."""
    pause = FIRST_PAUSE
    for number in count():
        yield number
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
