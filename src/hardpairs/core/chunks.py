"""Chunks of files behind URLs that are read from start to end, requested before they are needed."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from concurrent.futures import Future

import numpy as np

from hardpairs.core.ranges import request_range

CHUNK = 2 << 20
"""Bytes of a request."""
AHEAD = 8
"""Chunks on their way, where a file is read in order."""
MOST = 32
"""Chunks of all files that a process holds."""


class Chunks:
    """The chunks that are read, those that come next, and some before. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunks: OrderedDict[tuple[int, str, int], Future[bytes]] = OrderedDict()

    @property
    def held_bytes(self) -> int:
        """Return the most bytes of the chunks that are held, or on their way."""
        return len(self._chunks) * CHUNK

    def read_into(self, out: np.ndarray, url: str, offset: int, size: int) -> None:
        """Fill an array with bytes of a file.

        Args:
            out: (n,) uint8.
            url: A URL of fsspec.
            offset: The first byte.
            size: Bytes of the whole file.

        Raises:
            FileNotFoundError: As ``request_range`` says.
            ConnectionError: The same, or the answer has another length.
        """
        stop = offset + len(out)
        for number in range(offset // CHUNK, -(-stop // CHUNK)):
            start = number * CHUNK
            end = min(start + CHUNK, size)
            data = self._begun(url, number, size).result()
            if len(data) != end - start:
                raise ConnectionError(f"{url}: {len(data)} bytes came, not {end - start}")
            first, last = max(offset, start), min(stop, end)
            chunk = np.frombuffer(data, np.uint8)
            out[first - offset : last - offset] = chunk[first - start : last - start]

    def _begun(self, url: str, number: int, size: int) -> Future[bytes]:
        """Return what will hold a chunk; where the one before it is held, request the next ones.

        A forked process has requests of its own.
        """
        process, count = os.getpid(), -(-size // CHUNK)
        with self._lock:
            in_order = number == 0 or (process, url, number - 1) in self._chunks
            for each in range(number, min(number + (AHEAD if in_order else 1), count)):
                key = process, url, each
                if key not in self._chunks:
                    start = each * CHUNK
                    self._chunks[key] = request_range(url, start, min(CHUNK, size - start))
                self._chunks.move_to_end(key)  # what is ahead stays, what is behind goes
            wanted = self._chunks[process, url, number]
            while len(self._chunks) > MOST:
                self._chunks.popitem(last=False)
        return wanted


CHUNKS = Chunks()
"""Those of this process."""
