"""A real Chromium without a window, driven over its debugging pipe: what a page shows, and what happens when one clicks."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SECONDS = 60


class Browser:
    """One tab. Used as a context; downloads land in ``downloads``."""

    def __init__(self, downloads: Path) -> None:
        self.downloads, self.messages, self.errors = downloads, [], []
        self._ids, self._buffer = itertools.count(1), b""

    def __enter__(self) -> Browser:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        read_theirs, self._write = os.pipe()
        self._read, write_theirs = os.pipe()
        flags = (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-pipe",
            f"--user-data-dir={self._profile.name}",
        )
        # Chromium reads commands from descriptor 3 and answers on 4.
        launch = f'exec 3<&{read_theirs} 4>&{write_theirs}; exec "$0" "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", launch, CHROMIUM, *flags],
            pass_fds=(read_theirs, write_theirs),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_theirs)
        os.close(write_theirs)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def call(self, method: str, **parameters):
        """Sends a command and returns its result."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        if hasattr(self, "_session") and not method.startswith("Browser."):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict:
        while b"\0" not in self._buffer:
            data = os.read(self._read, 1 << 16)
            assert data, "the browser has ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        self.messages.append(message)
        return message

    def open(self, page: Path) -> None:
        """Loads a file and waits until it is there."""
        self.call("Page.navigate", url=page.resolve().as_uri())
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def run(self, script: str):
        """The value of an expression on the page."""
        found = self.call(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            userGesture=True,
            awaitPromise=True,
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def complaints(self) -> list[str]:
        """Errors that the page or its policy raised, and what it asked of the network."""
        found = []
        for message in self.messages:
            method, parameters = message.get("method"), message.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(parameters["exceptionDetails"]["text"])
            elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
                found.append(parameters["entry"]["text"])
            elif method == "Network.requestWillBeSent" and not parameters["request"][
                "url"
            ].startswith(("file:", "data:", "blob:")):
                found.append(parameters["request"]["url"])
        return found

    def downloaded(self, name: str) -> str:
        """Waits for a download and reads it."""
        end = time.monotonic() + SECONDS
        while not (self.downloads / name).exists():
            assert time.monotonic() < end, f"no {name}"
            time.sleep(0.05)
        return (self.downloads / name).read_text()
