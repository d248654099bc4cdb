"""Files behind URLs, read in place by byte ranges.

URLs are those of fsspec: ``s3://``, ``gs://``, ``https://``, ``memory://`` and more.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

from upath import UPath

from hardpairs.core import ranges
from hardpairs.core.errors import UserError, bad_input, usage

FilePath = Path | UPath
"""A local path or a URL; both are used like a ``pathlib.Path``."""
BEGINNING = 1 << 16
"""Bytes of a file's beginning that tell it from another one."""
BLOCK = 4 << 20
"""Bytes of a request where a file is read from start to end."""
T = TypeVar("T")


def is_url(name: str | os.PathLike[str] | UPath) -> bool:
    """Return whether a name is a URL."""
    return "://" in str(name)


def file_path(name: str | os.PathLike[str] | UPath) -> FilePath:
    """Return the local path or the URL of a name.

    Raises:
        UserError: exit 2 for a protocol that fsspec does not know, or knows through a package that
            is not installed.
    """
    if isinstance(name, UPath):
        return name
    if not is_url(name):
        return Path(name)
    try:
        path = UPath(str(name))
        path.fs  # noqa: B018 (creates the file system, whose package may be absent)
        return path
    except (ImportError, ValueError) as error:
        raise usage(
            f"this URL cannot be used: {error}",
            where=str(name),
            fix="install what is missing, or use local files",
        ) from None


def is_known_url(name: str) -> bool:
    """Return whether fsspec can read URLs of a name's kind."""
    try:
        file_path(name)
    except UserError:
        return False
    return True


def check_allowed(name: str, *, allow_remote: bool) -> None:
    """Refuse a URL that the user has not allowed.

    Args:
        name: A path or URL; a command, ``pipe:``, is refused elsewhere.
        allow_remote: Whether URLs are read.

    Raises:
        UserError: exit 2.
    """
    if not allow_remote and is_url(name) and not name.startswith("pipe:"):
        raise usage(
            "the data is behind a URL",
            where=name,
            why="nothing is read over the network unasked",
            fix="`allow_remote`, or download it first",
        )


def is_file(path: FilePath) -> bool:
    """Return whether there is a file.

    Raises:
        UserError: exit 3 for a server that does not answer, or answers with an error other than
            that there is no such file.
    """
    if not isinstance(path, UPath):
        return path.is_file()
    try:
        return bool(_facts(path)["type"] == "file")
    except FileNotFoundError as error:  # fsspec says so of every fault of a web server
        cause = error.__cause__
        if not isinstance(cause, Exception) or getattr(cause, "status", None) in (404, 410):
            return False
        raise no_answer(str(path), cause) from error
    except Exception as error:  # each file system has exceptions of its own
        raise no_answer(str(path), error) from error


def list_files(folder: UPath, pattern: str) -> list[FilePath]:
    """Return the files of a folder behind a URL whose names match a glob; none without a folder.

    Raises:
        UserError: exit 3 for a server that does not answer, or refuses.
    """
    try:
        return asked(lambda: [*folder.glob(pattern)])
    except FileNotFoundError:
        return []
    except Exception as error:  # each file system has exceptions of its own
        raise no_answer(str(folder), error) from error


def _facts(path: UPath) -> dict[str, Any]:
    """Return what a server says of a file."""
    return asked(lambda: dict(path.fs.info(path.path)))


def _facts_of_file(path: UPath) -> dict[str, Any]:
    """Do what ``_facts`` does for a file that should be there.

    Raises:
        FileNotFoundError: It is not.
        UserError: exit 3 for a server that does not answer, or refuses.
    """
    try:
        return _facts(path)
    except FileNotFoundError:
        raise
    except Exception as error:  # each file system has exceptions of its own
        raise no_answer(str(path), error) from error


def asked(question: Callable[[], T]) -> T:
    """Return a server's answer to a question, which is asked again where the server fails."""
    for wait in ranges.WAITS:
        try:
            return question()
        except Exception as error:
            if not ranges.may_pass(error.__cause__ or error):
                raise
            time.sleep(wait)
    return question()


def no_answer(url: str, error: BaseException) -> UserError:
    """Return the error of a server that cannot be reached or refuses (exit 3)."""
    return bad_input(
        f"the server does not answer as it should: {str(error) or type(error).__name__}",
        where=url,
        fix="check the address, the network and the access rights, and start again",
    )


@contextlib.contextmanager
def answers(url: str) -> Iterator[None]:
    """Turn the errors of requests for bytes of a file into the user's (exit 3)."""
    try:
        yield
    except FileNotFoundError:
        raise bad_input("the file is no longer there", where=url) from None
    except ConnectionError as error:
        raise no_answer(url, error) from error


def check_ranges(path: UPath) -> None:
    """Refuse a web server that sends whole files where a range of bytes is asked for (exit 3).

    Each read would cost a download of the whole file. Other protocols have ranges.
    """
    if path.protocol not in ("http", "https"):
        return
    try:
        sent = len(read_range(str(path), 1, 1))
    except OSError as error:
        cause = error.__cause__ or error
        if not isinstance(cause, ValueError):  # an old version of fsspec checks the answer itself
            raise no_answer(str(path), cause) from error
        sent = 0
    if sent != 1:
        raise bad_input(
            "the server sends whole files, not ranges of bytes",
            where=str(path),
            why="each read would cost a download of the whole file",
            fix="download the files, or serve them by a server that answers range requests "
            "(nginx, Apache, S3)",
        )


def state_of(path: FilePath) -> tuple[int, int]:
    """Return the size of a file in bytes, and a number that changes when the file does.

    The number is the modification time of a local file. For a URL it is a hash of what the server
    says and of the file's beginning, since many servers say no more than the size.
    """
    if isinstance(path, UPath):
        facts = {key: value for key, value in _facts(path).items() if key != "name"}
        _size(facts, path)
        digest = hashlib.sha256(repr(sorted(facts.items(), key=lambda item: item[0])).encode())
        digest.update(read_range(str(path), 0, min(BEGINNING, int(facts["size"]))))
        return int(facts["size"]), int.from_bytes(digest.digest()[:7], "little")
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def size_of(path: FilePath) -> int:
    """Return the size of a file in bytes."""
    return _size(_facts_of_file(path), path) if isinstance(path, UPath) else path.stat().st_size


def _size(facts: dict[str, Any], path: UPath) -> int:
    if facts.get("size") is None:
        raise no_answer(str(path), ValueError("it does not say how long the file is"))
    return int(facts["size"])


def beside(path: FilePath, suffix: str) -> Path:
    """Return where to note something about a file: a file beside it with another suffix.

    For a URL, this is a file in the user's cache folder.
    """
    if not isinstance(path, UPath):
        return path.with_suffix(suffix)
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openclip-hardpairs"
    return folder / f"{path.stem}-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}{suffix}"


def read_range(url: str, offset: int = 0, size: int | None = None) -> bytes:
    """Return bytes of a file behind a URL.

    Args:
        url: A URL of fsspec.
        offset: The first byte.
        size: Number of bytes; by default all up to the end.

    Raises:
        FileNotFoundError: The server says that there is no such file.
        ConnectionError: It does not answer, or with another error.
    """
    return ranges.request_range(url, offset, size).result()


def open_in_order(path: FilePath) -> IO[bytes]:
    """Open a file, local or behind a URL, to be read from its start to its end."""
    if not isinstance(path, UPath):
        return path.open("rb")
    return io.BufferedReader(_Blocks(path), BLOCK)


class _Blocks(io.RawIOBase):
    """A file behind a URL as blocks that are requested one by one.

    fsspec's own files do not ask again when a request fails, and one of hundreds does.
    """

    def __init__(self, path: UPath) -> None:
        self._url, self._position = str(path), 0
        self._size = int(_facts_of_file(path)["size"])

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        with answers(self._url):
            data = read_range(self._url, self._position, wanted)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
