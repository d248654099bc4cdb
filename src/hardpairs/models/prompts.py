"""The names of classes as prompts of zero-shot classification say them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import open_clip

from hardpairs.core.errors import bad_input, usage
from hardpairs.core.parse import parse_json
from hardpairs.data.imagenet import WORDNET_ID, imagenet_ids

Names = list[str] | dict[str, str]
"""Names of classes in their order, or by the class's folder."""
_NAMES_FIX = (
    "a name a line, in the order of the sorted folders; or lines of folder, tab and name; or JSON "
    'such as {"folder": "name"}'
)
_CODE_SHARE = 0.9
"""Share of the names that has to look like codes: types of aircraft, such as 747-400, are names."""


def prompt_names(folders: Sequence[str], where: str, names: Names | None = None) -> list[str]:
    """Return the names of class folders as prompts say them.

    Folders of ImageNet, which have ids, and of ImageNet-V2, which have the numbers 0 to 999, get
    OpenCLIP's names.

    Args:
        folders: Names of the class folders, sorted.
        where: The folder they are in, for errors.
        names: The names of the classes, as ``read_names`` returns them.

    Raises:
        UserError: Exit 3 for ids that are not among ImageNet's 1,000, and for names that are not
            those of these folders.
    """
    if names is not None:
        return _given(folders, where, names)
    if set(folders) == set(map(str, range(1000))):
        return [open_clip.IMAGENET_CLASSNAMES[int(name)] for name in folders]
    if not any(WORDNET_ID.fullmatch(name) for name in folders):
        return [name.replace("_", " ") for name in folders]
    of_id = dict(zip(imagenet_ids(), open_clip.IMAGENET_CLASSNAMES, strict=True))
    unknown = [name for name in folders if WORDNET_ID.fullmatch(name) and name not in of_id]
    if unknown:
        raise bad_input(
            f"{len(unknown)} class folders are WordNet ids outside ImageNet's 1,000 classes",
            where=f"{where}: {', '.join(unknown[:3])}",
            why="a prompt needs the name of the class",
            fix="rename the folders to the classes' names, or give the names with `classnames`",
        )
    return [of_id.get(name, name.replace("_", " ")) for name in folders]


def read_names(path: str) -> Names:
    """Read the names of classes from a text or JSON file.

    A text file has a name a line; or folder, tab and name; or WordNet id, space and name. JSON is
    a list of names or an object of names by folder.

    Args:
        path: The file.

    Raises:
        UserError: Exit 2 for a file that is not there; exit 3 for one without names, and for a
            folder that has two names.
    """
    if not Path(path).is_file():
        raise usage("no such file", where=f"`classnames` {path}", fix=_NAMES_FIX)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        content = parse_json(text) if path.lower().endswith(".json") else text.splitlines()
    except ValueError as error:
        raise bad_input("the file has no names of classes", where=path, fix=_NAMES_FIX) from error
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        lines = [name.strip() for name in content if name.strip()]
        pairs = [re.split(r"\t|(?<=^n\d{8}) ", line, maxsplit=1) for line in lines]
        if not pairs or any(len(pair) == 1 for pair in pairs):
            content = lines
        elif len({folder for folder, _ in pairs}) < len(pairs):
            raise bad_input("a class has two names", where=path, fix=_NAMES_FIX)
        else:
            content = dict(pairs)
    names = content.values() if isinstance(content, dict) else content
    is_text = isinstance(content, list | dict) and all(isinstance(name, str) for name in names)
    if not is_text or not content or not all(name.strip() for name in names):
        raise bad_input("the file has no names of classes", where=path, fix=_NAMES_FIX)
    if isinstance(content, dict):
        return {folder: name.strip() for folder, name in content.items()}
    return [str(name) for name in content]


def look_like_codes(names: Sequence[str]) -> bool:
    """Return whether the names of classes are numbers or codes, which no caption says.

    These are names with a digit and without a word of two letters (``0017``, ``c7``), or with one
    word that a number follows (``class_12``, ``id00017``).
    """
    code = re.compile(r"(?=.*\d)(?!.*[^\W\d_]{2}).*|[^\W\d_]+[ _-]?\d+")
    return sum(bool(code.fullmatch(name)) for name in names) >= _CODE_SHARE * max(len(names), 1)


def _given(folders: Sequence[str], where: str, names: Names) -> list[str]:
    if isinstance(names, list):
        if len(names) != len(folders):
            raise bad_input(
                f"{len(names)} names in `classnames`, and {len(folders)} classes",
                where=where,
                fix=_NAMES_FIX,
            )
        return names
    missing = [folder for folder in folders if folder not in names]
    if missing:
        raise bad_input(
            f"{len(missing)} of {len(folders)} classes have no name in `classnames`",
            where=f"{where}: {', '.join(missing[:3])}",
            fix=_NAMES_FIX,
        )
    return [names[folder] for folder in folders]
