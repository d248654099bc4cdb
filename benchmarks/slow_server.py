"""A file server with the latency and the faults of object storage, on a loopback address.

It answers ``GET`` with and without a range, and ``HEAD``. Every answer begins ``latency`` seconds
after its request. A share of the requests for ranges fails: in turn with 503, and by a connection
that breaks after half of the bytes. ``/counts`` is answered at once with what it has done so far.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

_RANGE = re.compile(rb"\r\nrange: *bytes=(\d+)-(\d*)", re.IGNORECASE)


class _Connection(asyncio.Protocol):
    def __init__(self, folder: Path, latency: float, failing: float, counts: Counter) -> None:
        self.folder, self.latency, self.failing, self.counts = folder, latency, failing, counts
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.counts["connections"] += 1

    def data_received(self, data: bytes) -> None:
        self.rest += data
        while (end := self.rest.find(b"\r\n\r\n")) >= 0:
            request, self.rest = self.rest[: end + 2], self.rest[end + 4 :]
            loop = asyncio.get_running_loop()
            wait = 0.0 if request.startswith(b"GET /counts ") else self.latency
            loop.call_later(wait, self.answer, request)

    def answer(self, request: bytes) -> None:
        if self.transport.is_closing():
            return
        method, target = request.split(b" ", 2)[:2]
        if target == b"/counts":
            self.counts["processor_seconds"] = time.process_time()
            self.send(200, json.dumps(self.counts).encode())
            return
        path, asked = self.folder / target.decode().lstrip("/"), _RANGE.search(request)
        if not path.is_file():
            return self.send(404, b"")
        size = path.stat().st_size
        if method == b"HEAD":
            return self.send(200, b"", size)
        if asked is None:
            return self.send(200, path.read_bytes())
        first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
        self.counts["requests"] += 1
        if random.random() < self.failing:
            self.counts["failed"] += 1
            if self.counts["failed"] % 2:
                return self.send(503, b"")
            self.send(206, bytes((last + 1 - first) // 2), last + 1 - first)
            return self.transport.close()
        handle = os.open(path, os.O_RDONLY)
        self.send(206, os.pread(handle, last + 1 - first, first))
        os.close(handle)

    def send(self, status: int, body: bytes, length: int | None = None) -> None:
        length = len(body) if length is None else length
        head = f"HTTP/1.1 {status} -\r\nContent-Length: {length}\r\nAccept-Ranges: bytes\r\n\r\n"
        self.transport.write(head.encode() + body)


def _serve(folder: Path, latency: float, failing: float, port: multiprocessing.Queue) -> None:
    async def run() -> None:
        counts: Counter = Counter()
        server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(folder, latency, failing, counts), "127.0.0.1", 0
        )
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    random.seed(0)
    asyncio.run(run())


@contextmanager
def slow_server(folder: Path, *, latency: float, failing: float) -> Iterator[str]:
    """Serve a folder from a process of its own.

    Args:
        folder: Its files are served.
        latency: Seconds between a request and its answer.
        failing: Share of the requests for ranges that fail.
    """
    port: multiprocessing.Queue = multiprocessing.Queue()
    process = multiprocessing.Process(
        target=_serve, args=(folder, latency, failing, port), daemon=True
    )
    process.start()
    yield f"http://127.0.0.1:{port.get()}"
    process.terminate()
    process.join()


def counts_of(url: str) -> dict[str, float]:
    """Requests, failed ones, connections and processor seconds of a server."""
    with urlopen(f"{url}/counts") as answer:
        return json.load(answer)
