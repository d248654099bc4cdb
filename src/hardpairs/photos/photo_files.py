"""The bytes of a photo, from a file or out of a tar, and small copies of images."""

from __future__ import annotations

import io
import os
import stat

from PIL import Image

from hardpairs.data.images import UnreadableImage
from hardpairs.photos.scan import PhotoFile

MAX_BYTES = 200_000_000
"""Larger files are refused before they are read."""


def read_photo(file: PhotoFile) -> bytes:
    """Return the encoded image of a photo.

    Raises:
        OSError: The file does not exist, is not a regular file, or a link has replaced it. A link
            could lead to a file that the user never indexed.
        UnreadableImage: The file is larger than ``MAX_BYTES`` (``too_large``).
    """
    if file.size > MAX_BYTES:
        raise UnreadableImage("too_large")
    if os.path.realpath(file.path) != file.path:
        raise OSError(f"{file.path} is behind a link now")
    # Without O_NONBLOCK, opening a pipe would wait for its writer.
    handle = os.open(file.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{file.path} is not a regular file")
        if file.offset >= 0:
            data = os.pread(handle, file.size, file.offset)
            if len(data) != file.size:
                raise OSError(f"{file.path} ends before byte {file.offset + file.size}")
            return data
        with os.fdopen(os.dup(handle), "rb") as stream:
            return stream.read(MAX_BYTES)
    finally:
        os.close(handle)


def exists(file: PhotoFile) -> bool:
    """Return whether the file exists; a tar must also have its old time, for its offsets."""
    try:
        now = os.stat(file.path)
    except OSError:
        return False
    return stat.S_ISREG(now.st_mode) and (file.offset < 0 or now.st_mtime_ns == file.mtime_ns)


def is_unchanged(file: PhotoFile) -> bool:
    """Return whether the file has its old time and size; of a tar, only the time is compared."""
    try:
        now = os.lstat(file.path)
    except OSError:
        return False
    return (
        stat.S_ISREG(now.st_mode)
        and now.st_mtime_ns == file.mtime_ns
        and (file.offset >= 0 or now.st_size == file.size)
    )


def jpeg(image: Image.Image, side: int) -> bytes:
    """Return a JPEG without metadata; its longer side has at most ``side`` pixels."""
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
