"""CLIP_benchmark's folders of webdataset shards.

    FOLDER/dataset_type.txt                         retrieval; multilabel; classification without it
    FOLDER/classnames.txt                           classification: a name a line, by label
    FOLDER/zeroshot_classification_templates.txt    classification: a template a line, {c} the class
    FOLDER/test/nshards.txt                         number of shards
    FOLDER/test/0.tar ...                           webp, png or jpg; txt with a caption a line, or
                                                    cls with the label

A folder stands for its part ``test``; the folder of a part stands for that part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from upath import UPath

from hardpairs.core.errors import bad_input
from hardpairs.core.remote import FilePath, is_url

COUNT = "nshards.txt"
KIND, NAMES = "dataset_type.txt", "classnames.txt"
TEMPLATES = "zeroshot_classification_templates.txt"


def part_of(name: str) -> Path | None:
    """Return the folder of the part that a name stands for; ``None`` for other data."""
    if is_url(name):
        return None
    folder = Path(name)
    return next((each for each in (folder, folder / "test") if (each / COUNT).is_file()), None)


def clip_benchmark_shards(name: str, kind: str = "retrieval") -> list[Path] | None:
    """Return the shards of a folder in CLIP_benchmark's layout; ``None`` for other data.

    Args:
        name: The folder, or that of a part.
        kind: ``retrieval`` or ``classification``, which the folder has to be.

    Raises:
        UserError: Exit 3 for a folder of another kind, and for shards that are missing.
    """
    part = part_of(name)
    if part is None:
        return None
    found = _kind(part)
    if found != kind:
        fixes = {
            "classification": "name it for zero-shot classification; for work on images and "
            f"labels alone name its shards, {part}/*.tar",
            "retrieval": "`data`",
        }
        raise bad_input(
            f"the folder is for {found}, not for {kind}",
            where=str(part.parent / KIND),
            fix=fixes.get(found, f"a folder for {kind}"),
        )
    lines = _lines(part / COUNT)
    count = int(lines[0]) if lines and re.fullmatch("[0-9]{1,9}", lines[0]) else 0
    if count < 1:
        raise bad_input("no number of shards", where=str(part / COUNT))
    present = {path.name for path in part.glob("*.tar")}
    looked_at = [f"{i}.tar" for i in range(min(count, len(present) + 10))]  # of a wrong number
    missing = [str(part / name) for name in looked_at if name not in present]
    if missing:
        raise bad_input(
            f"{len(missing) + count - len(looked_at)} of {count} shards are missing",
            where=", ".join(missing[:10]),
            fix="download them",
        )
    return [part / f"{i}.tar" for i in range(count)]


def holds_lines(paths: Sequence[FilePath]) -> bool:
    """Return whether shards are those of a part for retrieval: each line is a caption."""
    return all(
        not isinstance(part, UPath) and (part / COUNT).is_file() and _kind(part) == "retrieval"
        for part in {path.parent for path in paths}
    )


def caption_lines(text: str) -> list[str]:
    """Return the captions in the text of a sample for retrieval; an empty one for an empty text."""
    return [line.strip() for line in text.splitlines()] or [""]


def _kind(part: Path) -> str:
    given = _lines(part.parent / KIND)
    return given[0].lower() if given else "classification"


def read_classes(name: str) -> list[str]:
    """Return the names of a folder's classes, by label.

    Raises:
        UserError: Exit 3 without any.
    """
    names = _lines(_folder(name) / NAMES)
    if not names:
        raise bad_input("no names of the classes", where=str(_folder(name) / NAMES))
    return names


def read_templates(name: str) -> list[str]:
    """Return a folder's prompts with ``{}`` for the class; none for other data.

    Raises:
        UserError: Exit 3 for a line without one ``{c}``.
    """
    path = _folder(name) / TEMPLATES
    lines = _lines(path) if part_of(name) else []
    if wrong := [line for line in lines if line.count("{c}") != 1]:
        raise bad_input("a template has one {c} for the class", where=f"{path}: {wrong[0]}")
    return [line.replace("{c}", "{}") for line in lines]


def _folder(name: str) -> Path:
    part = part_of(name)
    return Path(name) if part is None else part.parent


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise bad_input("the file is not UTF-8 text", where=str(path)) from None
    return [line.strip() for line in lines if line.strip()]
