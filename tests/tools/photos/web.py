"""A tab on a page that is served, and a server in a process of its own."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from pathlib import Path

from tests.browser import SECONDS, Browser
from tests.helpers import ROOT, listen_to_ctrl_c


class Tab(Browser):
    """A browser on a local server."""

    def visit(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def wait(self, script: str, seconds: float = SECONDS):
        """The first true value of an expression."""
        end = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < end, f"still not: {script}; the page shows: {self.run('document.body.innerText')}"
            time.sleep(0.05)
        return found

    def type(self, selector: str, text: str, *, enter: bool = True) -> None:
        """Types as a person does, in place of what is there."""
        self.run(f"{{const box = document.querySelector({json.dumps(selector)}); box.focus(); box.select?.()}}")
        self.call("Input.insertText", text=text)
        if enter:
            for kind in ("keyDown", "keyUp"):
                self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def strangers(self, url: str) -> list[str]:
        """What was asked of any other address, and what went wrong on the page."""
        own = (url, "data:", "blob:", "about:")
        return [text for text in self.complaints() if not text.startswith(own)]


class Served:
    """``tools.photo_search serve`` in a process; a context that gives its address."""

    def __init__(self, *arguments: str, errors: Path) -> None:
        self.arguments, self.errors = arguments, errors

    def __enter__(self) -> str:
        line = [sys.executable, "-m", "tools.photo_search", "serve", *self.arguments]
        with open(self.errors, "w") as errors:
            self.process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, preexec_fn=listen_to_ctrl_c)
        address = self.process.stdout.readline().strip()
        assert address, self.errors.read_text()
        return address

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait(SECONDS)
