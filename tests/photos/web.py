"""A tab on a page that is served; a server in this process, and one in a process of its own."""

from __future__ import annotations

import base64
import functools
import json
import socket
import threading
import time
from pathlib import Path

import httpx
import uvicorn

from hardpairs.photos.serve import bind
from tests.browser import SECONDS, Browser
from tests.helpers import ROOT
from tests.processes import start

get, post, request = (
    functools.partial(call, timeout=SECONDS) for call in (httpx.get, httpx.post, httpx.request)
)
"""httpx's functions; its 5 seconds are not enough on a machine with other work."""


class Tab(Browser):
    """A browser on a local server."""

    def visit(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def wait(self, script: str, seconds: float = SECONDS):
        """The first true value of an expression."""
        end = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < end, (
                f"still not: {script}; the page shows: {self.run('document.body.innerText')}"
            )
            time.sleep(0.05)
        return found

    def type(self, selector: str, text: str, *, enter: bool = True) -> None:
        """Types as a person does, in place of what is there."""
        self.run(
            f"{{const box = document.querySelector({json.dumps(selector)}); box.focus(); box.select?.()}}"
        )
        self.call("Input.insertText", text=text)
        if enter:
            for kind in ("keyDown", "keyUp"):
                self.call(
                    "Input.dispatchKeyEvent",
                    type=kind,
                    key="Enter",
                    code="Enter",
                    windowsVirtualKeyCode=13,
                    text="\r",
                )

    def press(self, key: str) -> None:
        """Presses and releases a key where the focus is."""
        text = {"Enter": "\r", "Space": " "}.get(key, key if len(key) == 1 else "")
        name = {"Space": " "}.get(key, key)
        code = {"Tab": 9, "Enter": 13, "Space": 32}.get(key, 0)
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=name,
                code=key,
                windowsVirtualKeyCode=code,
                text=text if kind == "keyDown" else "",
            )

    def open_part(self, name: str) -> None:
        """Clicks the tab of a part of the page."""
        tabs = "[...document.querySelectorAll('button[role=tab]')]"
        found = f"{tabs}.find(tab => tab.textContent.trim() == {json.dumps(name)})"
        self.wait(f"!!{found}")
        self.run(f"{found}.click()")

    def click(self, selector: str) -> None:
        """Presses and releases the mouse on the middle of an element, whatever lies there: a covered button is not reached."""
        place = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{place}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = self.run(
            f"(box => [box.x + box.width / 2, box.y + box.height / 2])({place}.getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=box[0],
                y=box[1],
                button="left",
                clickCount=1,
            )

    def screenshot(self, path: Path) -> None:
        path.write_bytes(
            base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        )

    def strangers(self, url: str) -> list[str]:
        """What was asked of any other address, and what went wrong on the page."""
        own = (url, "data:", "blob:", "about:")
        return [text for text in self.complaints() if not text.startswith(own)]


class Served:
    """``tools.photo_search serve``, or another command, in a process; a context that gives its address."""

    def __init__(
        self,
        *arguments: str,
        errors: Path,
        command: tuple[str, ...] = ("python", "-m", "tools.photo_search", "serve"),
    ) -> None:
        self.command, self.errors = [*command, *arguments], errors

    def __enter__(self) -> str:
        out = self.errors.with_name(self.errors.name + ".out")
        self.process = start(self.command, {}, ROOT, out, self.errors)
        while self.process.is_alive() and not (out.exists() and "\n" in out.read_text()):
            time.sleep(0.05)
        address = out.read_text().strip()
        assert address, self.errors.read_text()
        return address

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.join(SECONDS)


class Site:
    """An app on a real port of 127.0.0.1."""

    def __init__(self, app) -> None:
        self.socket = bind("127.0.0.1", 0)
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        self.thread = threading.Thread(
            target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True
        )
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_) -> None:
        self.server.should_exit = True
        self.thread.join(10)

    def raw(self, request: bytes) -> bytes:
        """What comes back for bytes that no client library would send."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(request)
            connection.settimeout(10)
            parts = []
            while data := connection.recv(1 << 16):
                parts.append(data)
        return b"".join(parts)

    def ask(self, values: list, *, inputs: int = 5, session: str = "s") -> dict:
        """Runs the page's search as the page does; the last message of the queue."""
        with httpx.Client(base_url=self.url, timeout=60) as client:
            functions = client.get("/config").json()["dependencies"]
            number = next(
                f["id"] for f in functions if len(f["inputs"]) == inputs and len(f["outputs"]) == 3
            )
            body = {"data": values, "fn_index": number, "session_hash": session}
            joined = client.post("/gradio_api/queue/join", json=body)
            assert joined.status_code < 500
            if joined.status_code != 200:
                return {"refused": joined.status_code}
            with client.stream(
                "GET", "/gradio_api/queue/data", params={"session_hash": session}
            ) as stream:
                for line in stream.iter_lines():
                    if (
                        line.startswith("data:")
                        and (message := json.loads(line[5:]))["msg"] == "process_completed"
                    ):
                        return message
        raise AssertionError("the answer did not come")

    def answer(
        self,
        text: str = "",
        minus: str = "",
        given: str = "",
        shown=24,
        cut: bool = False,
        session: str = "s",
    ) -> str:
        """HTML of the page's answer."""
        message = self.ask([text, minus, given, shown, cut], session=session)
        assert message["success"], message
        return message["output"]["data"][2]
