"""Refuse requests that must not reach the page's server, and limit what a browser may do.

Every web site that the same browser shows can reach a page on 127.0.0.1: with a form that posts to
it, or with a host name that it makes point to 127.0.0.1 (DNS rebinding). Both are refused here, and
so are those of Gradio's routes that the page does not use.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

MAX_UPLOAD = 20_000_000
MAX_POST = 2_000_000
"""Bytes of any other request; the search cuts a query of 1 MB."""

UPLOAD_PATH = "/asked"
JOIN_PATH = "/gradio_api/queue/join"
"""The path at which Gradio accepts a query. It fails here only for a request that names no function
of the page; errors of the search itself are reported on another route."""
COOKIE = "photo_search_token_{}"
"""Name of the cookie, by port. A browser sends the cookies of one server to all servers of the
host, and two cookies of one name would overwrite each other."""
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_ALLOWED = re.compile(
    r"/(photo/[0-9a-f]{16}(/large)?|pair/\d{1,9}|asked(/[0-9a-f]{32})?|batches|config|theme\.css"
    r"|manifest\.json|favicon\.ico|(assets|static)/[\w./@+-]+"
    r"|gradio_api/(heartbeat/\w+|queue/(join|data)|reset|cancel))?"
)
"""The page's own routes, and those that Gradio's front end needs. Gradio's routes for files,
proxies, uploads, streams and editing are not among them."""

HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; "
    "style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
"""Gradio's front end needs inline scripts and ``new Function``. Nothing is loaded from, or sent to,
another host."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
"""An ASGI application: it takes a scope, ``receive`` and ``send``."""


class Guard:
    """ASGI middleware.

    Args:
        app: The application.
        hosts: Names that the Host header may have, without port; ``None`` for any name.
        token: What a visitor must give, once as ``?token=`` (a cookie keeps it) or as
            ``Authorization: Bearer``; ``None`` where no token is needed.
    """

    def __init__(
        self, app: App, *, hosts: tuple[str, ...] | None = LOOPBACK, token: str | None = None
    ) -> None:
        self.app, self.hosts, self.token = app, hosts, token

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on to the application."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        refused = self._refused(scope, headers)
        if refused is not None:
            await _answer(send, *refused)
            return
        if self.token is not None and "token" in parse_qs(scope["query_string"].decode("latin-1")):
            await self._keep_token(scope, send)
            return
        limit = MAX_UPLOAD if scope["path"] == UPLOAD_PATH else MAX_POST
        if int(headers.get("content-length", "0")) > limit:
            await _answer(send, 413, f"more than {limit / 1e6:.0f} MB")
            return
        try:
            await self.app(
                scope,
                _limited(receive, limit),
                _with_headers(send, malformed=scope["path"] == JOIN_PATH),
            )
        except Exception:
            if scope["path"] != JOIN_PATH:
                raise

    def _refused(self, scope: Message, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self.hosts is not None and _without_port(host) not in self.hosts:
            return 403, "unknown host name"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, "another site's request"
        if headers.get("sec-fetch-site") == "cross-site" and (
            scope["method"] != "GET" or headers.get("sec-fetch-dest") != "document"
        ):
            return 403, "another site's request"
        if not headers.get("content-length", "0").isdigit():
            return 400, "bad length"
        if self.token is not None and not self._knows_token(scope, headers):
            return 401, "open the address with its token: /?token=..."
        if not _ALLOWED.fullmatch(scope["path"]) or ".." in scope["path"]:
            return 404, "not found"
        return None

    def _knows_token(self, scope: Message, headers: dict[str, str]) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        given += _cookies(headers.get("cookie", ""), _cookie_name(scope))
        given.append(headers.get("authorization", "").removeprefix("Bearer "))
        return any(hmac.compare_digest(text.encode(), self.token.encode()) for text in given)  # type: ignore[union-attr]

    async def _keep_token(self, scope: Message, send: Send) -> None:
        cookie = f"{_cookie_name(scope)}={self.token}; HttpOnly; SameSite=Strict; Path=/"
        await _answer(send, 303, "", {"location": "/", "set-cookie": cookie})


def _cookie_name(scope: Message) -> str:
    return COOKIE.format(scope["server"][1])


def _cookies(header: str, wanted: str) -> list[str]:
    """Return the values of our cookie.

    Other servers of this host set cookies in any form, and the standard library's parser stops at
    one that it cannot parse.

    Example:
        >>> _cookies('prefs={"a":1}; photo_search_token_7860=secret', "photo_search_token_7860")
        ['secret']
    """
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return [value for name, _, value in pairs if name == wanted]


def _without_port(host: str) -> str:
    return re.sub(r":\d*$", "", host.lower())


def _limited(receive: Receive, limit: int) -> Receive:
    """Count the bytes of a body while it arrives, since it may come without a length."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        return message if received <= limit else {"type": "http.disconnect"}

    return counted


def _with_headers(send: Send, *, malformed: bool) -> Send:
    """Add ``HEADERS``; with ``malformed``, report an error of the server as one of the request."""

    async def added(message: Message) -> None:
        if message["type"] == "http.response.start":
            if malformed and message["status"] == 500:
                message["status"] = 400
            theirs = [
                (name, value)
                for name, value in message["headers"]
                if name.lower().decode() not in HEADERS
            ]
            message = {
                **message,
                "headers": [
                    *theirs,
                    *((name.encode(), value.encode()) for name, value in HEADERS.items()),
                ],
            }
        await send(message)

    return added


async def _answer(
    send: Send, status: int, text: str, headers: dict[str, str] | None = None
) -> None:
    fields = {"content-type": "text/plain; charset=utf-8", **HEADERS, **(headers or {})}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(k.encode(), v.encode()) for k, v in fields.items()],
        }
    )
    await send({"type": "http.response.body", "body": text.encode()})
