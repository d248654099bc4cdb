"""Web servers of a folder on a loopback address: whole files, ranges of bytes, and one that fails."""

from __future__ import annotations

import contextlib
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from upath import UPath


class WholeFiles(http.server.SimpleHTTPRequestHandler):
    """A file server without byte ranges, as ``python -m http.server`` is; counts the bytes it sends."""

    sent = 0

    def copyfile(self, source, outputfile) -> None:
        data = source.read()
        type(self).sent += len(data)
        outputfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class Ranges(http.server.SimpleHTTPRequestHandler):
    """A file server that answers byte ranges; counts the bytes that it sends, and its answers."""

    sent = 0
    asked = 0
    disable_nagle_algorithm = True  # or each small answer waits 40 ms for the one before it

    def do_GET(self) -> None:
        type(self).asked += 1
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if asked is None or not path.is_file():
            return super().do_GET()
        content = path.read_bytes()
        first, last = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
        body = content[first : last + 1]
        type(self).sent += len(body)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Flaky(Ranges):
    """Every third request fails: in turn with 503, and by a connection that breaks in the middle."""

    failed = 0
    every = 3

    def do_GET(self) -> None:
        if (type(self).asked + 1) % self.every:
            return super().do_GET()
        type(self).asked += 1
        type(self).failed += 1
        self.close_connection = True
        if type(self).failed % 2:
            return self.send_error(503)
        self.send_response(206)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"half")


class Seldom(Flaky):
    """One of twenty requests fails."""

    every = 20


class Refusing(Ranges):
    """A server that asks for access rights."""

    def do_GET(self) -> None:
        self.send_error(403)

    do_HEAD = do_GET


class Down(Ranges):
    """A server that answers every request for a range with 503."""

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_error(503)


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # a connection that finds no room tries again after a second


@contextlib.contextmanager
def serving(folder: Path, handler: type) -> Iterator[str]:
    """Serve a folder; the handler's counts begin anew."""
    for count in ("sent", "asked", "failed"):
        setattr(handler, count, 0)
    with _Server(("127.0.0.1", 0), lambda *args: handler(*args, directory=str(folder))) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def in_memory(folder: Path) -> str:
    """The files of a folder in fsspec's memory file system."""
    target = UPath(f"memory://{folder}")
    for path in filter(Path.is_file, folder.rglob("*")):
        (target / str(path.relative_to(folder))).write_bytes(path.read_bytes())
    return str(target)
