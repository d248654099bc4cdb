"""Paths of a command line, checked before anything heavy is imported."""

from __future__ import annotations

import os
import stat

from hardpairs.core.errors import usage
from hardpairs.core.remote import is_url

WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
"""Ends of the names of checkpoint files; a tag of OpenCLIP has none of them."""
PATTERN = frozenset("*?[{:")


def check_exists(path: str | os.PathLike[str], kind: str = "file or folder") -> None:
    """Refuse a path where there is nothing. URLs and patterns are left to those who read them.

    Args:
        path: The path.
        kind: What should be there.

    Raises:
        UserError: Exit 2.
    """
    name = os.fspath(path)
    if not (is_url(name) or PATTERN & set(name) or os.path.exists(name)):
        raise usage(f"no such {kind}", where=name, fix="check the path")


class RefusedFile(OSError):
    """A file that is not read, whatever it holds.

    Attributes:
        reason: ``not_a_file``, ``too_large``, ``remote`` or ``unknown_url``.
    """

    def __init__(self, reason: str, path: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the bytes of a file that strangers may have named.

    Opening a pipe would wait for its writer, and a device may have no end.

    Args:
        path: The file; links are followed.
        most: Bytes of the largest file that is read.

    Raises:
        RefusedFile: It is a pipe, a socket or a device (``not_a_file``), or larger (``too_large``).
        OSError: It cannot be read, or no file can have such a path.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except ValueError as error:  # a zero byte, or half a surrogate pair
        raise OSError(f"no file has such a path: {error}") from None
    with open(handle, "rb") as file:
        check_regular(file.fileno(), path)
        data = file.read(most + 1)
    if len(data) > most:
        raise RefusedFile("too_large", str(path))
    return data


def check_regular(file: int | str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Raise RefusedFile for a pipe, a socket or a device.

    Args:
        file: Its handle or path.
        path: Its path, for the message.
    """
    mode = os.stat(file).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise RefusedFile("not_a_file", str(path))


def check_weights(pretrained: str | None) -> None:
    """Refuse the name of a checkpoint file that does not exist.

    Args:
        pretrained: The file, or a tag of OpenCLIP, which is not checked here.

    Raises:
        UserError: Exit 2.
    """
    if pretrained and pretrained.lower().endswith(WEIGHTS):
        check_exists(pretrained, "checkpoint")
