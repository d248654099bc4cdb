"""A reader of files of strangers, with a small whole file that it reads."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.mutations import Mutation, change_json
from tests.helpers import picture


@dataclass(frozen=True)
class Reader:
    """A reader and a file that it reads.

    Attributes:
        name: Path of the file, in a folder that holds what the reader needs beside it.
        whole: The file.
        read: Called with its path.
        more: Mutations of files of its kind.
        share: How many of the damaged files are its own: a reader that is slow has 1.
    """

    name: str
    whole: bytes
    read: Callable[[Path], object]
    more: tuple[Mutation, ...] = ()
    share: int = 4


def json_reader(name: str, value: object, read: Callable[[Path], object]) -> Reader:
    """Return the reader of a JSON file, of which values are changed, too."""
    return Reader(name, json.dumps(value).encode(), read, (change_json,))


def json_lines(values: Iterable[object]) -> bytes:
    """Return a JSON text for each value, in lines."""
    return b"\n".join(json.dumps(value).encode() for value in values)


def saved(save: Callable[[io.BytesIO], object]) -> bytes:
    """Return what a function writes to a file."""
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def write_images(folder: Path) -> None:
    """Write 0.jpg, 1.jpg and 2.jpg, for the rows of a table."""
    folder.mkdir(parents=True)
    for i in range(3):
        (folder / f"{i}.jpg").write_bytes(picture(i))
