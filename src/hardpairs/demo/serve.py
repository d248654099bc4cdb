"""A small HTTP server for the demonstration images on 127.0.0.1.

It is quick enough for img2dataset's many threads. It serves the files ``images/<folder>/<name>``
and nothing else: no listing, no way up, no other folder.
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
_IMAGE = re.compile(r"/([A-Za-z0-9][\w-]*)/([A-Za-z0-9][\w.-]*)")
_TYPES = {".jpg": "image/jpeg", ".html": "text/html; charset=utf-8"}


class ImageServer(ThreadingHTTPServer):
    """Serves the images below one folder; it takes its port when it is made.

    Args:
        images: The folder.
        port: The port; 0 takes a free one.

    Raises:
        UserError: Exit 2, the port cannot be opened.
    """

    daemon_threads = True
    # img2dataset opens a connection per image, from many threads at once
    request_queue_size = 256

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
        """The server's URL, without a slash at its end."""
        return f"http://{HOST}:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body leave in one packet
    timeout = 60  # seconds until an idle kept-alive connection gives its thread back

    server: ImageServer

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        content = self._content()
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

    def _content(self) -> bytes | None:
        match = _IMAGE.fullmatch(self.path)
        if match is None or Path(self.path).suffix not in _TYPES:
            return None
        try:
            path = (self.server.images / match[1] / match[2]).resolve()
            # a symbolic link may lead elsewhere
            inside = self.server.images.resolve() in path.parents
            return path.read_bytes() if inside else None
        except OSError:
            return None

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: nobody reads a line for each of thousands of requests."""


def serve_until_stopped(server: ImageServer, folder: Path) -> None:
    """Serve until Ctrl-C or SIGTERM.

    ``folder/server.json`` ({"url", "pid"}) exists exactly while the server listens. The function
    handles signals, and must be called from the main thread.

    Args:
        server: The server, which is closed at the end.
        folder: Folder of server.json.
    """
    # A signal writes a byte to a pipe that we read: this wakes whichever thread took the signal,
    # and two signals at once do not meet in a lock.
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end)
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
            f"serving {folder / 'images'} at {server.url} (process {os.getpid()}); "
            "Ctrl-C or SIGTERM stops it",
            flush=True,
        )
        os.read(read_end, 1)
    finally:
        (folder / SERVER_FILE).unlink(missing_ok=True)
        server.shutdown()
        server.server_close()
        signal.set_wakeup_fd(-1)
        for number, handler in previous.items():
            signal.signal(number, handler)
        os.close(read_end)
        os.close(write_end)
