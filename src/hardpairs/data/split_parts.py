"""The parts of a split folder: a table or a folder for each."""

from __future__ import annotations

from pathlib import Path

from hardpairs.core.errors import usage

PARTS = ("train", "val", "test")
NAMES = {"val": ("val", "validation")}
"""Names of a part in file systems, where they are not the part's alone."""


def part_of_folder(folder: Path, part: str) -> Path:
    """Return the table or the folder that holds a part: ``PART.csv``, else ``PART``.

    Raises:
        UserError: Exit 2 when the folder has no such part; the message names those it has.
    """
    found = {name: path for name in PARTS if (path := _find(folder, name)) is not None}
    if part in found:
        return found[part]
    raise usage(
        f"the folder has no part {part!r}",
        where=f"{folder}: {', '.join(found) or 'no parts'}",
        fix=f"{part}.csv or {part}/ in it, as hardpairs split and hardpairs data get make them",
    )


def _find(folder: Path, part: str) -> Path | None:
    names = NAMES.get(part, (part,))
    tables = [path for name in names if (path := folder / f"{name}.csv").is_file()]
    folders = [path for name in names if (path := folder / name).is_dir()]
    return next(iter(tables + folders), None)
