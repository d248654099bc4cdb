"""A real Chromium without a window, driven over its debugging pipe: what a page shows, and what happens when one clicks."""

from __future__ import annotations

import collections
import functools
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


class Chromium:
    """The browser of this process, which takes longer to start than most tests."""

    def __init__(self) -> None:
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
        self._ids, self._buffer = itertools.count(1), b""
        self._received = collections.defaultdict(collections.deque)

    def call(self, session: str, method: str, **parameters):
        """Send a command and return its result, and what the tab said before; no name: no tab."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        before = []
        while (answer := self.next(session)).get("id") != number:
            before.append(answer)
        assert "error" not in answer, answer
        return answer["result"], before

    def next(self, session: str) -> dict:
        """Return the next message of a tab."""
        while not self._received[session]:
            while b"\0" not in self._buffer:
                data = os.read(self._read, 1 << 16)
                assert data, "the browser has ended"
                self._buffer += data
            line, _, self._buffer = self._buffer.partition(b"\0")
            message = json.loads(line)
            self._received[message.get("sessionId", "")].append(message)
        return self._received[session].popleft()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()


@functools.cache
def chromium() -> Chromium:
    """Return the browser of this process; ``end_chromium`` ends it."""
    return Chromium()


def end_chromium() -> None:
    if chromium.cache_info().currsize:
        chromium().end()
        chromium.cache_clear()


class Browser:
    """One tab that shares nothing with others. Used as a context; downloads land in ``downloads``."""

    def __init__(self, downloads: Path) -> None:
        self.downloads, self.messages = downloads, []

    def __enter__(self) -> Browser:
        self._context = self._of_all("Target.createBrowserContext")["browserContextId"]
        own = {"browserContextId": self._context}
        target = self._of_all("Target.createTarget", url="about:blank", **own)["targetId"]
        attached = self._of_all("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        folder = {"behavior": "allow", "downloadPath": str(self.downloads)}
        self._of_all("Browser.setDownloadBehavior", **folder, **own)
        return self

    def __exit__(self, *_) -> None:
        self._of_all("Target.disposeBrowserContext", browserContextId=self._context)

    def _of_all(self, method: str, **parameters) -> dict:
        return chromium().call("", method, **parameters)[0]

    def call(self, method: str, **parameters):
        """Sends a command and returns its result."""
        result, before = chromium().call(self._session, method, **parameters)
        self.messages += before
        return result

    def _next(self) -> dict:
        message = chromium().next(self._session)
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
