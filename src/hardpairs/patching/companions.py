"""Our packages beside a patched tree: the hooks in it import them. A generated tree has them beside it already, in ``src/``."""

from __future__ import annotations

from pathlib import Path

from hardpairs.core.errors import mismatch
from hardpairs.patching.place import edited_files, put, read_manifest, read_tree, remove, sha256

ROOT = Path(__file__).resolve().parents[3]
COMPANIONS = {"hardpairs": ROOT / "src" / "hardpairs"}


def companion_states(tree: Path) -> dict[str, str]:
    """For each of our packages beside a tree: ``missing``, ``in place``, ``older``, ``edited`` or ``not ours``."""
    return {name: _state(name, tree.with_name(name)) for name in COMPANIONS}


def refuse_companions(tree: Path, *, wanted: bool) -> None:
    """Makes sure that our packages can be put beside a tree, or with ``wanted=False`` be taken away, and no work be lost.

    Raises:
        UserError: for a folder of that name that is not ours, or is ours and was edited.
    """
    for name, state in companion_states(tree).items():
        folder = tree.with_name(name)
        if state == "not ours" and wanted:
            why = f"our package {name} has to stand there, and the hooks would find yours in its place"
            raise mismatch(
                f"there is a {name}/ beside the tree that we did not put there",
                where=str(folder),
                why=why,
                fix="move or rename it",
            )
        if state == "edited":
            files = ", ".join(_edited(folder))
            raise mismatch(
                f"edited since we put it there: {files}",
                where=str(folder),
                why="the edits would be lost",
                fix="move them away",
            )


def place_companions(tree: Path) -> None:
    """Puts our packages beside a tree, each in one step."""
    for name, state in companion_states(tree).items():
        if state != "in place":
            files = read_tree(COMPANIONS[name])
            put(
                tree.with_name(name),
                files,
                {
                    "package": name,
                    "files": {file: sha256(content) for file, content in files.items()},
                },
            )


def drop_companions(tree: Path) -> None:
    """Takes away what ``place_companions`` put there; files that a user added beside ours stay."""
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
    wanted = {file: sha256(content) for file, content in read_tree(COMPANIONS[name]).items()}
    return (
        "in place" if wanted == manifest["files"] and not edited_files(folder, wanted) else "older"
    )


def _edited(folder: Path) -> list[str]:
    """Files of ours with other content; one that is gone is no loss, and one that was added is not ours."""
    ours = (read_manifest(folder) or {})["files"]
    return [
        file for file in edited_files(folder, ours) if file in ours and (folder / file).exists()
    ]
