"""Bytes of a picture, from a file or out of a tar, and small copies of it."""

from __future__ import annotations

import io
import os
import stat

from PIL import Image

from hardpairs.data.images import UnreadableImage
from hardpairs.photos.scan import Place

MAX_BYTES = 200_000_000
"""Larger files are no photographs; they are refused before they are read."""


def read_place(place: Place) -> bytes:
    """The encoded picture.

    Raises:
        OSError: it is gone, no regular file, or a link has taken its place, which could lead anywhere.
        UnreadableImage: ``too_large``.
    """
    if place.size > MAX_BYTES:
        raise UnreadableImage("too_large")
    if os.path.realpath(place.path) != place.path:
        raise OSError(f"{place.path} is behind a link now")
    handle = os.open(
        place.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
    )  # a pipe would wait for its writer
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{place.path} is no file")
        if place.offset >= 0:
            data = os.pread(handle, place.size, place.offset)
            if len(data) != place.size:
                raise OSError(f"{place.path} ends before byte {place.offset + place.size}")
            return data
        with os.fdopen(os.dup(handle), "rb") as file:
            return file.read(MAX_BYTES)
    finally:
        os.close(handle)


def is_there(place: Place) -> bool:
    """Whether the file is still there (of a tar: with that size and time, since the offset is of that tar)."""
    try:
        now = os.stat(place.path)
    except OSError:
        return False
    return stat.S_ISREG(now.st_mode) and (place.offset < 0 or now.st_mtime_ns == place.mtime_ns)


def is_unchanged(place: Place) -> bool:
    """Whether the file has the time and the size that it had (of a tar: the time)."""
    try:
        now = os.lstat(place.path)
    except OSError:
        return False
    return (
        stat.S_ISREG(now.st_mode)
        and now.st_mtime_ns == place.mtime_ns
        and (place.offset >= 0 or now.st_size == place.size)
    )


def jpeg(image: Image.Image, side: int) -> bytes:
    """A JPEG without any metadata, its longer side at most ``side`` pixels."""
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
