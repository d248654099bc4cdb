"""The server of the images: it serves what the tables name, and nothing else."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardpairs.core.errors import Exit, UserError
from hardpairs.demo.serve import ImageServer
from tests.demo.made import read_table
from tests.helpers import ROOT


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, object]]]:
    command = [
        sys.executable,
        "-m",
        "tools.demo_data",
        "--out",
        str(folder),
        "--kind",
        "scenes",
        "--pairs",
        "20",
        "--views",
        "2",
        "--serve",
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("serving "), line
        yield process, json.loads((folder / "server.json").read_text())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def get(connection: http.client.HTTPConnection, path: str) -> tuple[int, str, bytes]:
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.headers["Content-Type"], response.read()


@pytest.mark.parametrize(
    "signals", [(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT, signal.SIGTERM)]
)
def test_serves_what_the_tables_name_until_stopped(
    tmp_path: Path, signals: tuple[signal.Signals, ...]
) -> None:
    with serving(tmp_path) as (process, server):
        assert server["pid"] == process.pid
        connection = http.client.HTTPConnection(
            str(server["url"]).removeprefix("http://"), timeout=10
        )
        for _, url, _ in read_table(tmp_path / "test.tsv"):
            assert url.startswith(f"{server['url']}/")
            file = url.removeprefix(str(server["url"]))
            assert get(connection, file) == (
                200,
                "image/jpeg",
                (tmp_path / f"images{file}").read_bytes(),
            )  # one kept-alive connection
        for number in (
            signal.SIGSTOP,
            *signals,
            signal.SIGCONT,
        ):  # several arrive together, as Ctrl-C in the quickstart sends them
            process.send_signal(number)
        assert process.wait(timeout=60) == 0
        assert not (tmp_path / "server.json").exists()


def test_serves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "images/train").mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "images/train/a.jpg").write_bytes(b"picture")
    (tmp_path / "images/train/notes.txt").write_bytes(b"notes")
    os.symlink(tmp_path / "secret.jpg", tmp_path / "images/train/link.jpg")
    server = ImageServer(tmp_path / "images")
    with running(server):
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
        assert get(connection, "/train/a.jpg")[0] == 200
        for path in (
            "/",
            "/train",
            "/train/",
            "/train/../../secret.jpg",
            "/../secret.jpg",
            "/%2e%2e/secret.jpg",
            "/train/b.jpg",
            "/train/notes.txt",
            "/train/link.jpg",
        ):
            assert get(connection, path)[0] == 404, path


@contextlib.contextmanager
def running(server: ImageServer) -> Iterator[None]:
    import threading

    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_port_in_use_is_a_usage_error(tmp_path: Path) -> None:
    with (
        ImageServer(tmp_path) as server,
        pytest.raises(UserError, match="cannot be opened") as caught,
    ):
        ImageServer(tmp_path, server.server_address[1])
    assert caught.value.code == Exit.USAGE
