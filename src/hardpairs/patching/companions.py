"""Our package beside a user's clone, where the hooks import it."""

from __future__ import annotations

from pathlib import Path

from hardpairs.core.errors import mismatch
from hardpairs.patching.folders import (
    edited_files,
    put,
    read_manifest,
    read_tree,
    remove,
    sha256,
)

COMPANIONS = {"hardpairs": Path(__file__).resolve().parents[1]}
"""The packages that the hooks import, by name: where their files are taken from."""


def companion_states(tree: Path) -> dict[str, str]:
    """Return the state of each companion beside a tree.

    Returns:
        By name ``missing``, ``in place``, ``older``, ``edited`` or ``not ours``.
    """
    return {name: _state(name, tree.with_name(name)) for name in COMPANIONS}


def refuse_companions(tree: Path, *, wanted: bool) -> None:
    """Refuse a change that would lose a user's work beside a tree.

    Args:
        tree: The ``open_clip_train`` folder.
        wanted: True when the companions are to be put there, False when they are to be taken away.

    Raises:
        UserError: Exit 4 for a folder of that name that is not ours, or is ours and was edited.
    """
    for name, state in companion_states(tree).items():
        folder = tree.with_name(name)
        if state == "not ours" and wanted:
            why = f"the hooks import {name}, and would import this folder instead of ours"
            what = f"there is a {name}/ beside the tree that we did not put there"
            raise mismatch(what, where=str(folder), why=why, fix="move or rename it")
        if state == "edited":
            what = f"edited since we put it there: {', '.join(_edited(folder))}"
            why = "the edits would be lost"
            raise mismatch(what, where=str(folder), why=why, fix="move them away")


def place_companions(tree: Path) -> None:
    """Put the companions beside a tree, each in one step."""
    for name, state in companion_states(tree).items():
        if state != "in place":
            files = read_tree(COMPANIONS[name])
            hashes = {file: sha256(content) for file, content in files.items()}
            put(tree.with_name(name), files, {"package": name, "files": hashes})


def drop_companions(tree: Path) -> None:
    """Remove what ``place_companions`` put there; files that a user added beside ours stay."""
    for name in COMPANIONS:
        manifest = read_manifest(tree.with_name(name))
        if manifest:
            remove(tree.with_name(name), manifest["files"])


def _state(name: str, folder: Path) -> str:
    manifest = read_manifest(folder)
    if manifest is None:
        return "not ours" if folder.exists() else "missing"
    if _edited(folder):
        return "edited"
    current = {file: sha256(content) for file, content in read_tree(COMPANIONS[name]).items()}
    same = current == manifest["files"] and not edited_files(folder, current)
    return "in place" if same else "older"


def _edited(folder: Path) -> list[str]:
    """Return our files with other content. Neither a missing file nor one of the user's counts."""
    ours = (read_manifest(folder) or {})["files"]
    changed = edited_files(folder, ours)
    return [file for file in changed if file in ours and (folder / file).exists()]
