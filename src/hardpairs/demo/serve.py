"""A small HTTP server for the demonstration pictures on 127.0.0.1, quick enough for img2dataset's many threads.

It serves the files that lie in ``images/<folder>/<name>`` and nothing else: no listing, no way up, no other folder.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hardpairs.core.atomic import write_json
from hardpairs.core.errors import usage

HOST = "127.0.0.1"
SERVER_FILE = "server.json"

# A name starts with a letter or digit, so that "..", "." and hidden files never match.
_PICTURE = re.compile(r"/([A-Za-z0-9][\w-]*)/([A-Za-z0-9][\w.-]*)")
_TYPES = {".jpg": "image/jpeg", ".html": "text/html; charset=utf-8"}


class PictureServer(ThreadingHTTPServer):
    """Serves the pictures below one folder; bound to its port as soon as it is made."""

    daemon_threads = True
    request_queue_size = (
        256  # img2dataset opens a connection per picture, from many threads at once
    )

    def __init__(self, images: Path, port: int = 0) -> None:
        self.images = images
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise usage(
                    f"port {port} cannot be opened: {error.strerror}",
                    where="`port`",
                    fix="`port` 0 takes a free port",
                ) from error
            raise

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body leave in one packet
    timeout = 60  # seconds until an idle kept-alive connection gives its thread back

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        content = self._picture()
        status = HTTPStatus.NOT_FOUND if content is None else HTTPStatus.OK
        body = b"not found\n" if content is None else content
        self.send_response(status)
        self.send_header(
            "Content-Type", "text/plain" if content is None else _TYPES[Path(self.path).suffix]
        )
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _picture(self) -> bytes | None:
        match = _PICTURE.fullmatch(self.path)
        if match is None or Path(self.path).suffix not in _TYPES:
            return None
        try:
            path = (self.server.images / match[1] / match[2]).resolve()
            if (
                self.server.images.resolve() not in path.parents
            ):  # a symbolic link that leads elsewhere
                return None
            return path.read_bytes()
        except OSError:
            return None

    def log_message(self, format: str, *args: object) -> None:
        """Thousands of requests: nobody reads a line for each."""


def serve_until_stopped(server: PictureServer, folder: Path) -> None:
    """Serves until Ctrl-C or SIGTERM; ``folder/server.json`` ({"url", "pid"}) exists exactly while it listens.

    Must be called from the main thread (signals).
    """
    # Signals write a byte to a pipe that we read: it wakes whichever thread took the signal, and two at once do not meet in a lock.
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell)
    previous = {
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)
    }
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
    )
    thread.start()
    try:
        write_json(folder / SERVER_FILE, {"url": server.url, "pid": os.getpid()})
        print(
            f"serving {folder / 'images'} at {server.url} (process {os.getpid()}); Ctrl-C or SIGTERM stops it",
            flush=True,
        )
        os.read(told, 1)
    finally:
        (folder / SERVER_FILE).unlink(missing_ok=True)
        server.shutdown()
        server.server_close()
        signal.set_wakeup_fd(-1)
        for number, handler in previous.items():
            signal.signal(number, handler)
        os.close(told)
        os.close(tell)
