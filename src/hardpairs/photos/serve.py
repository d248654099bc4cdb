"""The page's server: our routes for pictures, Gradio for the rest, the guard before both."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import os
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from hardpairs.core.errors import Exit, usage
from hardpairs.data.images import HEIC_HELP, HEIC_REASON, UnreadableImage, decode
from hardpairs.photos.guard import LOOPBACK, UPLOAD_PATH, Guard

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from hardpairs.photos.index import Index
from hardpairs.photos.library import LARGE, THUMBNAIL, Asked, Library, Recent, Thumbnails
from hardpairs.photos.model import open_model
from hardpairs.photos.page import Shelf, build, theme
from hardpairs.photos.pictures import jpeg
from hardpairs.photos.review import Review

PORT = 7860
KEEP = {"cache-control": "private, max-age=3600"}
REASONS = {
    "empty_image": "That file is empty.",
    "truncated_image": "That picture is cut off.",
    "too_many_pixels": "That picture has more than 64 megapixels.",
    "too_narrow": "That picture is too narrow.",
    HEIC_REASON: f"That picture is HEIC, which is not installed here: {HEIC_HELP}, and start again.",
}


def make_app(
    shelf: Shelf,
    batches: str = "",
    *,
    hosts: tuple[str, ...] | None = LOOPBACK,
    token: str | None = None,
) -> Guard:
    """The whole application, guarded."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    thumbnails, pairs = Thumbnails(shelf.libraries), Recent[bytes](500)
    decoding = asyncio.Semaphore(1)  # 64 megapixels are up to .8 GB while they are decoded

    @app.get("/photo/{name}")
    def photo(name: str) -> Response:
        return _picture(thumbnails.get(name, THUMBNAIL))

    @app.get("/photo/{name}/large")
    def large(name: str) -> Response:
        return _picture(thumbnails.get(name, LARGE))

    @app.post(UPLOAD_PATH)
    async def give(request: Request) -> Response:
        data = await request.body()
        try:
            async with decoding:
                return JSONResponse({"id": await run_in_threadpool(shelf.asked.add, data)})
        except UnreadableImage as error:
            return JSONResponse(
                {
                    "error": REASONS.get(
                        str(error), "That is no picture that can be read (JPEG, PNG, WebP)."
                    )
                },
                415,
            )

    @app.get(UPLOAD_PATH + "/{name}")
    def asked(name: str) -> Response:
        return _picture(shelf.asked.thumbnail(name))

    @app.get("/pair/{row}")
    def pair(row: int) -> Response:
        return _picture(
            _pair_picture(shelf.review, row, pairs) if shelf.review is not None else None
        )

    @app.get("/manifest.json")
    def manifest() -> Response:
        return JSONResponse({"name": "Photographs"})

    @app.get("/batches")
    def batch_page() -> Response:
        return HTMLResponse(batches, 200 if batches else 404)

    gr.mount_gradio_app(
        app,
        build(shelf),
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


def _picture(data: bytes | None) -> Response:
    return (
        Response(b"", 404)
        if data is None
        else Response(data, media_type="image/jpeg", headers=KEEP)
    )


def _pair_picture(review: Review, row: int, kept: Recent[bytes]) -> bytes | None:
    if not 0 <= row < len(review.samples):
        return None
    data = kept.get(str(row))
    if data is None:
        try:
            data = jpeg(decode(review.samples.image_bytes(row), for_side=THUMBNAIL), 2 * THUMBNAIL)
        except (OSError, UnreadableImage):
            return None
        kept.put(str(row), data)
    return data


def open_shelf(args: argparse.Namespace) -> Shelf:
    """
    Raises:
        UserError: as ``Index.open``, ``open_model`` and ``Review``.
    """
    review = open_review(args)
    libraries = [_library(args.index, args.model, args.pretrained, args.device)]
    if args.compare_with is not None:
        libraries.append(_library(args.compare_with, None, None, args.device))
    return Shelf(libraries, Asked(libraries), review, args.batches is not None, tuple(args.example))


def _library(folder: Path, model: str | None, pretrained: str | None, device: str) -> Library:
    return Library(folder, open_model(Index.open(folder), model, pretrained, device), device)


def open_review(args: argparse.Namespace) -> Review | None:
    if args.hard_pairs is None:
        return None
    if args.data is None:
        raise usage(
            "--hard-pairs shows pictures, and nothing says where they are",
            fix="--data: what the pairs were mined on",
        )
    from hardpairs.data.open_tables import open_tables
    from hardpairs.data.samples import open_samples

    samples = open_samples(args.data)
    (table,) = open_tables([args.hard_pairs], samples).values()
    return Review(
        table, samples, args.reject or args.hard_pairs.absolute().parent / "rejected.json"
    )


def bind(host: str, port: int | None) -> socket.socket:
    """A listening socket: of the port that is asked for; else 7860, or a free one.

    Raises:
        UserError: exit 2 when that port is taken, or there is no such address.
    """
    try:
        return _listen(host, PORT if port is None else port)
    except (OSError, OverflowError) as error:
        if port is not None or getattr(error, "errno", None) != errno.EADDRINUSE:
            wanted, why = (
                PORT if port is None else port,
                getattr(error, "strerror", None) or str(error),
            )
            raise usage(
                f"cannot listen on {host}, port {wanted}: {why}",
                fix="another --port or --host, or none",
            ) from None
    print(f"port {PORT} is taken; --port chooses another", file=sys.stderr)
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
    """Refuses (exit 2) to be seen by other machines without a token."""
    if host in ("127.0.0.1", "localhost", "::1"):
        return
    if not token:
        raise usage(
            f"--host {host} shows the photographs to other machines",
            why="whoever reaches the port could see them",
            fix="give a --token, too",
        )
    if not re.fullmatch(r"[\w.~-]{12,}", token, re.ASCII):
        raise usage(
            "the token is too easy to guess, or cannot stand in an address",
            fix="12 or more letters, digits, - or _",
        )


def serve(args: argparse.Namespace, make_batch_page: Callable[[], str]) -> int:
    """Serve until Ctrl-C or SIGTERM; print the address on stdout when the page is ready.

    Args:
        args: The flags of ``hardpairs photos serve``.
        make_batch_page: Returns the HTML page of a training command's batches, or nothing.
    """
    check_address(args.host, args.token)
    listening = bind(args.host, args.port)
    shelf, batches = open_shelf(args), make_batch_page()
    outside = args.host not in ("127.0.0.1", "localhost", "::1")
    app = make_app(shelf, batches, hosts=None if outside else LOOPBACK, token=args.token)
    host = f"[{args.host}]" if ":" in args.host else args.host
    address = f"http://{host}:{listening.getsockname()[1]}/" + (
        "?token=" + args.token if args.token else ""
    )
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=2)
    )
    server.config.load()
    print(address, flush=True)
    print(f"{len(shelf.libraries[0].index())} photographs; Ctrl-C stops it", file=sys.stderr)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    return Exit.OK
