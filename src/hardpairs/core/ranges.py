"""Ranges of bytes of files behind URLs: many on their way at once, each asked for again on failure.

The file systems are fsspec's. Its own caches are for readers that go through a file in order, and
those on disk grow without a bound; images are read at random, so the callers keep what they need.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future
from functools import lru_cache
from typing import Any

from fsspec.asyn import get_loop
from upath import UPath

WAITS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds before each further try of a request."""
BUSY = (408, 425, 429)
"""HTTP's answers below 500 that ask for another try."""
FINAL = (FileNotFoundError, PermissionError, ValueError)
"""Errors that another try does not mend."""


def may_pass(error: BaseException) -> bool:
    """Return whether a request that failed is worth another try."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status in BUSY or status >= 500
    return not isinstance(error, FINAL)


def request_range(url: str, offset: int = 0, size: int | None = None) -> Future[bytes]:
    """Begin to read bytes of a file behind a URL, and return what will hold them.

    Args:
        url: A URL of fsspec.
        offset: The first byte.
        size: Number of bytes; by default all up to the end.

    Returns:
        The bytes; or FileNotFoundError where the server says that there is no such file, or
        ConnectionError where it does not answer, or with another error, in all tries.
    """
    system, path = _file_system(os.getpid(), url)
    loop = system.loop if system.async_impl else get_loop()
    end = None if size is None else offset + size
    return asyncio.run_coroutine_threadsafe(_read(system, path, offset, end), loop)


async def _read(system: Any, path: str, start: int, end: int | None) -> bytes:
    for wait in (*WAITS, None):
        try:
            if system.async_impl:
                return bytes(await system._cat_file(path, start=start, end=end))
            return bytes(await asyncio.to_thread(system.cat_file, path, start=start, end=end))
        except FileNotFoundError:
            raise
        except Exception as error:  # each file system has exceptions of its own
            if wait is None or not may_pass(error):
                raise ConnectionError(f"{path}: {str(error) or type(error).__name__}") from error
            await asyncio.sleep(wait)
    raise AssertionError("the last try returns or raises")


@lru_cache(maxsize=4096)
def _file_system(process: int, url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it; a forked process has its own."""
    path = UPath(url)
    return path.fs, path.path
