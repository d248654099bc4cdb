"""Files behind URLs (``s3://``, ``gs://``, ``https://``, ``memory://``, all that fsspec knows), read in place by byte ranges."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from upath import UPath

from hardpairs.core.errors import usage

Place = Path | UPath
"""A local path or a URL; both are used like a ``pathlib.Path``."""
BEGINNING = 1 << 16


def is_url(name: str | os.PathLike[str]) -> bool:
    return "://" in str(name)


def place(name: str | os.PathLike[str]) -> Place:
    """What a name stands for.

    Raises:
        UserError: exit 2 for a protocol that fsspec does not know, or knows through a package that is not installed.
    """
    if not is_url(name):
        return Path(name)
    try:
        found = UPath(str(name))
        found.fs  # noqa: B018 (makes the file system, whose package may be absent)
        return found
    except (ImportError, ValueError) as error:
        raise usage(
            f"this URL cannot be read: {error}",
            where=str(name),
            fix="download the files first, or install what is missing",
        ) from None


def state_of(path: Place) -> tuple[int, int]:
    """(size in bytes, a number that changes when the file does: the time of a local one, of another a hash of what its server tells and of
    its beginning, since many servers tell no more than the size)."""
    if isinstance(path, UPath):
        told = {key: value for key, value in path.fs.info(path.path).items() if key != "name"}
        digest = hashlib.sha256(repr(sorted(told.items(), key=lambda item: item[0])).encode())
        digest.update(read_range(str(path), 0, min(BEGINNING, int(told["size"]))))
        return int(told["size"]), int.from_bytes(digest.digest()[:7], "little")
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def beside(path: Place, suffix: str) -> Path:
    """Where to note something about a file: beside it with another suffix, or for a URL in the user's cache folder."""
    if not isinstance(path, UPath):
        return path.with_suffix(suffix)
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openclip-hardpairs"
    return folder / f"{path.stem}-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}{suffix}"


def read_range(url: str, offset: int = 0, size: int | None = None) -> bytes:
    """Bytes of a file behind a URL, whole or a part of it.

    Raises:
        OSError: whatever went wrong.
    """
    path = UPath(url)
    try:
        return path.fs.cat_file(
            path.path, start=offset, end=None if size is None else offset + size
        )
    except OSError:
        raise
    except Exception as error:  # each file system has exceptions of its own
        raise OSError(f"{url}: {error!r}") from error
