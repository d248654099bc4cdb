"""Amazon's S3 on a loopback address: ``moto`` answers, and s3fs speaks to it.

pip install s3fs "moto[server]"
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest


@contextlib.contextmanager
def serving_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    """Serve an empty bucket, to this process and those that it starts.

    Yields:
        The URL of the bucket, and the file system that it is in.
    """
    s3fs = pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem(use_listings_cache=False)
    bucket = f"pairs-{port}"  # the server keeps the buckets of the tests before
    system.mkdir(bucket)
    yield f"s3://{bucket}", system
    server.stop()
