"""The URL tables of the demonstration data, ``caption<TAB>url<TAB>group`` as in CC3M's table, and their few broken entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hardpairs.core.atomic import write_text

SPLITS = ("train", "val", "test")
HEADER = "caption\turl\tgroup"

_HTML = b"<!doctype html>\n<title>Sign in</title>\n<p>This picture has moved. Please sign in to see it.</p>\n"
_CUT_BYTES = (
    180  # within a JPEG's tables, before any pixel: more would decode to a half grey picture
)


@dataclass(frozen=True)
class Row:
    """One pair.

    Attributes:
        caption: the text, without tabs and line ends.
        file: the picture, relative to ``images/``.
        group: rows with equal numbers show the same thing, so each caption is true of each picture.
    """

    caption: str
    file: str
    group: int


@dataclass(frozen=True)
class Broken:
    """An entry of the train table that has to fail, and how: ``not found``, ``html``, ``cut`` or ``empty caption``."""

    row: Row
    fault: str


def break_some(rows: Sequence[Row], images: Path) -> list[Broken]:
    """Makes two broken entries of each kind, with the captions and groups of the first rows, and writes their files.

    They come on top of the rows: no good pair is lost.
    """
    source = [rows[number % len(rows)] for number in range(8)]
    good = [(images / row.file).read_bytes() for row in source]
    broken = []
    for number, (row, jpeg) in enumerate(zip(source, good, strict=True)):
        fault, name, content = (
            ("not found", f"gone_{number}.jpg", None),
            ("html", f"sign_in_{number}.html", _HTML),
            ("cut", f"cut_{number}.jpg", jpeg[:_CUT_BYTES]),
            ("empty caption", f"untitled_{number}.jpg", jpeg),
        )[number % 4]
        if content is not None:
            (images / "train" / name).write_bytes(content)
        caption = "" if fault == "empty caption" else row.caption
        broken.append(Broken(Row(caption, f"train/{name}", row.group), fault))
    return broken


def write_table(path: Path, rows: Sequence[Row], url: str) -> None:
    """Writes one table, with ``url`` (no slash at its end) before each file."""
    lines = [HEADER, *(f"{row.caption}\t{url}/{row.file}\t{row.group}" for row in rows)]
    write_text(path, "\n".join(lines) + "\n")


def move_table(path: Path, url: str) -> None:
    """Points a table's URLs at another server; files and order stay."""
    lines = path.read_text(encoding="utf-8").splitlines()
    moved = [lines[0]]
    for line in lines[1:]:
        caption, old, group = line.split("\t")
        moved.append(f"{caption}\t{url}/{'/'.join(old.rsplit('/', 2)[1:])}\t{group}")
    write_text(path, "\n".join(moved) + "\n")
