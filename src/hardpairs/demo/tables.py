"""The URL tables of the demonstration data, and their few broken entries.

A table has the columns ``caption<TAB>url<TAB>group``, the first two as in CC3M's table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hardpairs.core.atomic import write_text

SPLITS = ("train", "val", "test")
HEADER = "caption\turl\tgroup"

_HTML = (
    b"<!doctype html>\n<title>Sign in</title>\n"
    b"<p>This picture has moved. Please sign in to see it.</p>\n"
)
_CUT_BYTES = 180
"""Within a JPEG's tables, before any pixel: a later cut would decode to a half gray image."""


@dataclass(frozen=True)
class PairRow:
    """One image-text pair.

    Attributes:
        caption: The text, without tabs and line ends.
        file: The image, relative to ``images/``.
        group: Rows with equal numbers show the same thing: each caption is true of each image.
    """

    caption: str
    file: str
    group: int


@dataclass(frozen=True)
class BrokenEntry:
    """An entry of the train table that has to fail.

    Attributes:
        row: The entry.
        fault: ``not found``, ``html``, ``cut`` or ``empty caption``.
    """

    row: PairRow
    fault: str


def break_some(rows: Sequence[PairRow], images: Path) -> list[BrokenEntry]:
    """Make two broken entries of each kind, and write their files.

    They have the captions and groups of the first rows, and are added to them: no good pair is
    lost.

    Args:
        rows: The train table.
        images: Folder of the images.
    """
    source = [rows[number % len(rows)] for number in range(8)]
    broken = []
    for number, row in enumerate(source):
        jpeg = (images / row.file).read_bytes()
        fault, name, content = (
            ("not found", f"gone_{number}.jpg", None),
            ("html", f"sign_in_{number}.html", _HTML),
            ("cut", f"cut_{number}.jpg", jpeg[:_CUT_BYTES]),
            ("empty caption", f"untitled_{number}.jpg", jpeg),
        )[number % 4]
        if content is not None:
            (images / "train" / name).write_bytes(content)
        caption = "" if fault == "empty caption" else row.caption
        broken.append(BrokenEntry(PairRow(caption, f"train/{name}", row.group), fault))
    return broken


def write_table(path: Path, rows: Sequence[PairRow], url: str) -> None:
    """Write one table.

    Args:
        path: The file.
        rows: The pairs.
        url: The URL in front of each file, without a slash at its end.
    """
    lines = [HEADER, *(f"{row.caption}\t{url}/{row.file}\t{row.group}" for row in rows)]
    write_text(path, "\n".join(lines) + "\n")


def move_tables(folder: Path, url: str) -> None:
    """Point the URLs of all tables at another server; files and order stay.

    Args:
        folder: The folder of the data.
        url: The server's URL, without a slash at its end.
    """
    for split in SPLITS:
        path = folder / f"{split}.tsv"
        lines = path.read_text(encoding="utf-8").splitlines()
        moved = [lines[0]]
        for line in lines[1:]:
            caption, old, group = line.split("\t")
            moved.append(f"{caption}\t{url}/{'/'.join(old.rsplit('/', 2)[1:])}\t{group}")
        write_text(path, "\n".join(moved) + "\n")
