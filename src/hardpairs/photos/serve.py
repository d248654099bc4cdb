"""The page's server: our routes for images, Gradio for the rest, and the guard before both."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from hardpairs.core.errors import usage
from hardpairs.data.images import HEIC_HELP, HEIC_REASON, UnreadableImage, read_and_decode
from hardpairs.photos.guard import LOOPBACK, UPLOAD_PATH, Guard

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from hardpairs.photos.library import LARGE, THUMBNAIL, Recent, Thumbnails
from hardpairs.photos.page import PageContent, build, theme
from hardpairs.photos.photo_files import jpeg
from hardpairs.photos.review import Review

PORT = 7860
LOCAL_ADDRESSES = ("127.0.0.1", "localhost", "::1")
CACHED = {"cache-control": "private, max-age=3600"}
UNUSABLE = "That is not an image that can be read (JPEG, PNG, WebP)."
REASONS = {
    "empty_image": "That file is empty.",
    "truncated_image": "That image is cut off.",
    "too_many_pixels": "That image has more than 64 megapixels.",
    "too_narrow": "That image is too narrow.",
    "unsupported_pixels": "That image has pixels that cannot be read, such as infinite numbers.",
    HEIC_REASON: f"That image is HEIC, which is not installed here: {HEIC_HELP}, and start again.",
}


def make_app(
    content: PageContent, *, hosts: tuple[str, ...] | None = LOOPBACK, token: str | None = None
) -> Guard:
    """Return the whole application, guarded.

    Args:
        content: What the page shows.
        hosts: As in ``Guard``.
        token: As in ``Guard``.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    thumbnails, pairs = Thumbnails(content.libraries), Recent[bytes](500)
    decoding = asyncio.Semaphore(1)  # decoding 64 megapixels takes up to 0.8 GB

    @app.get("/photo/{name}")
    def photo(name: str) -> Response:
        return _image_response(thumbnails.get(name, THUMBNAIL))

    @app.get("/photo/{name}/large")
    def large(name: str) -> Response:
        return _image_response(thumbnails.get(name, LARGE))

    @app.post(UPLOAD_PATH)
    async def give(request: Request) -> Response:
        data = await request.body()
        try:
            async with decoding:
                name = await run_in_threadpool(content.query_images.add, data)
            return JSONResponse({"id": name})
        except UnreadableImage as error:
            return JSONResponse({"error": REASONS.get(str(error), UNUSABLE)}, 415)

    @app.get(UPLOAD_PATH + "/{name}")
    def given(name: str) -> Response:
        return _image_response(content.query_images.thumbnail(name))

    @app.get("/pair/{row}")
    def pair(row: int) -> Response:
        review = content.review
        return _image_response(None if review is None else _pair_image(review, row, pairs))

    @app.get("/manifest.json")
    def manifest() -> Response:
        return JSONResponse({"name": "Photos"})

    @app.get("/batches")
    def batch_page() -> Response:
        return HTMLResponse(content.batches, 200 if content.batches else 404)

    gr.mount_gradio_app(
        app,
        build(content),
        path="/",
        theme=theme(),
        css_paths=[Path(__file__).parent / "page.css"],
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        enable_monitoring=False,
        mcp_server=False,
        allowed_paths=[],
        max_file_size=1,
        show_error=False,
    )
    return Guard(app, hosts=hosts, token=token)


def _image_response(data: bytes | None) -> Response:
    if data is None:
        return Response(b"", 404)
    return Response(data, media_type="image/jpeg", headers=CACHED)


def _pair_image(review: Review, row: int, kept: Recent[bytes]) -> bytes | None:
    if not 0 <= row < len(review.samples):
        return None
    data = kept.get(str(row))
    if data is None:
        try:
            image = read_and_decode(lambda: review.samples.image_bytes(row), for_side=THUMBNAIL)
        except UnreadableImage:
            return None
        data = jpeg(image, 2 * THUMBNAIL)
        kept.put(str(row), data)
    return data


def bind(host: str, port: int | None) -> socket.socket:
    """Return a listening socket: on the given port, else on 7860 or a free one.

    Raises:
        UserError: exit 2 when the given port is taken, or the machine has no such address.
    """
    try:
        return _listen(host, PORT if port is None else port)
    except (OSError, OverflowError) as error:
        if port is not None or getattr(error, "errno", None) != errno.EADDRINUSE:
            wanted = PORT if port is None else port
            reason = getattr(error, "strerror", None) or str(error)
            raise usage(
                f"cannot listen on {host}, port {wanted}: {reason}",
                fix="give another `port` or `host`, or neither",
            ) from None
    print(f"port {PORT} is taken; a free one is used", file=sys.stderr)
    return _listen(host, 0)


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket(
        socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM
    )
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except BaseException:
        listening.close()
        raise
    return listening


def check_address(host: str, token: str | None) -> None:
    """Raise an error for an address that other machines can reach without a safe token.

    Raises:
        UserError: exit 2.
    """
    if host in LOCAL_ADDRESSES:
        return
    if not token:
        raise usage(
            f"`host` {host} shows the photos to other machines",
            why="everyone who can reach the port could see them",
            fix="give a `token`, too",
        )
    if not re.fullmatch(r"[\w.~-]{12,}", token, re.ASCII):
        raise usage(
            "the token is too easy to guess, or cannot stand in an address",
            fix="use 12 or more letters, digits, - or _ as `token`",
        )


class _Server(uvicorn.Server):
    """A server that ends at once although browsers have it open.

    An open tab holds streams that end with the tab alone. Uvicorn waits for them, and logs each one
    that it cancels as an error.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then the server."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        for task in self.server_state.tasks:
            task.cancel()
        await super().shutdown(sockets)


def serve(
    open_content: Callable[[], PageContent], *, host: str, port: int | None, token: str | None
) -> None:
    """Serve until Ctrl-C or SIGTERM; print the address on stdout when the page is ready.

    Args:
        open_content: Returns what the page shows; called once the address is known to be free.
        host: Address to listen on.
        port: Port to listen on; ``None`` for 7860, or a free one when that is taken.
        token: What visitors must give; ``None`` for none.

    Raises:
        UserError: As ``check_address`` and ``bind``.
        KeyboardInterrupt: Ctrl-C, after the server has ended.
    """
    check_address(host, token)
    listening = bind(host, port)
    content = open_content()
    app = make_app(content, hosts=LOOPBACK if host in LOCAL_ADDRESSES else None, token=token)
    name = f"[{host}]" if ":" in host else host
    query = f"?token={token}" if token else ""
    server = _Server(
        uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=1)
    )
    server.config.load()
    print(f"http://{name}:{listening.getsockname()[1]}/{query}", flush=True)
    print(f"{len(content.libraries[0].index())} photos; Ctrl-C stops it", file=sys.stderr)
    server.run(sockets=[listening])
