"""One ``open_clip_train`` folder and the patches on it: what is there, what would change, and the change itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardpairs.core.errors import UserError, mismatch
from hardpairs.patching.companions import (
    COMPANIONS,
    companion_states,
    drop_companions,
    place_companions,
    refuse_companions,
)
from hardpairs.patching.diff import (
    PACKAGE,
    Edit,
    Patch,
    apply_patch,
    edits,
    parse_patch,
    patch_state,
)
from hardpairs.patching.place import (
    MANIFEST,
    edited_files,
    put,
    read_manifest,
    read_tree,
    recover,
    retire,
    sha256,
)


@dataclass(frozen=True)
class Tree:
    """A tree as it is found.

    Args:
        folder: the ``open_clip_train`` folder.
        version: OpenCLIP's version.
        generated: True for the copy that we make of the installed package; False for a clone of the user's.
        files: its files by path, as they are now; of a clone only those that patches touch.
        base: the same without our patches; for a generated tree the installed package.
        patches: the patches that an earlier run put on and noted.
    """

    folder: Path
    version: str
    generated: bool
    files: dict[str, bytes]
    base: dict[str, bytes]
    patches: tuple[Patch, ...]


def read_generated(folder: Path, version: str, installed: Path) -> Tree:
    """Reads the tree that we make of the installed package, whether it is there yet or not.

    Raises:
        UserError: when it was edited by hand, or is not ours.
    """
    manifest = read_manifest(folder)
    if folder.exists():
        _refuse_edited_copy(folder, manifest)
    files = read_tree(folder) if folder.exists() else {}
    return Tree(folder, version, True, files, read_tree(installed), _noted(manifest))


def read_clone(folder: Path, version: str, series: Sequence[Patch]) -> Tree:
    """Reads the tree in a user's clone; of its files only those that the series or an earlier run touches.

    Raises:
        UserError: when lines that an earlier run put there were edited since.
    """
    manifest = read_manifest(folder) or {}
    noted = _noted(manifest)
    names = {name for patch in (*series, *noted) for name in patch.files}
    files = {
        name: (folder / name).read_bytes() for name in sorted(names) if (folder / name).is_file()
    }
    patches = tuple(
        patch for patch in noted if patch_state(patch, files) != "open"
    )  # git checkout takes a patch off, and no note
    base = _without(files, patches)
    for name, before in manifest.get("before", {}).items():
        if sha256(files.get(name, b"")) == manifest["files"][name] and sha256(base[name]) != before:
            raise mismatch(
                "taking the patches off does not give the file back as it was",
                where=str(folder / name),
                fix="git checkout it",
            )
    return Tree(folder, version, False, files, base, patches)


def plan(tree: Tree, patches: Iterable[Patch]) -> dict[str, bytes]:
    """The files of a tree with these patches and no other of ours.

    Raises:
        UserError: naming every edited line, and every folder, that is in the way; then nothing is to be changed.
    """
    patches = _ours(tree, patches)
    found = [edit for patch in patches for edit in edits(patch, tree.base)]
    if found:
        raise _edited(
            found, f"the patches do not fit {tree.folder}: lines that they change were edited"
        )
    if not tree.generated:
        refuse_companions(tree.folder, wanted=_hooked(patches))
    files = tree.base
    for patch in patches:
        files = apply_patch(patch, files)
    return files


def is_current(tree: Tree, patches: Sequence[Patch]) -> bool:
    """Whether ``write`` would change nothing."""
    if [(patch.name, patch.text) for patch in _ours(tree, patches)] != [
        (patch.name, patch.text) for patch in tree.patches
    ]:
        return False
    settled = {"in place"} if _hooked(patches) else {"missing", "not ours"}
    return tree.files == plan(tree, patches) and (
        tree.generated or set(companion_states(tree.folder).values()) <= settled
    )


def write(tree: Tree, patches: Sequence[Patch]) -> None:
    """Brings a tree to just these patches in one step, and our packages beside it.

    Hooks find all of our packages beside them at every moment: those are put there before the hooks and taken away after them, and
    renewed only while the tree has no patch.
    """
    files = plan(tree, patches)
    if tree.generated:
        put(tree.folder, files, _manifest(tree, files, patches, files))
        return
    if _hooked(patches) and "older" in companion_states(tree.folder).values() and tree.patches:
        _put_clone(tree, tree.base, ())
    try:
        if _hooked(patches):
            place_companions(tree.folder)
        _put_clone(tree, files, patches)
    finally:
        if not _hooked(_noted(read_manifest(tree.folder))):  # taken off, or the disk was full
            drop_companions(tree.folder)


def take_away(tree: Tree) -> None:
    """Removes a generated tree in one step."""
    retire(tree.folder)


def clear(folder: Path) -> None:
    """Ends what a killed run left beside a tree."""
    for name in (PACKAGE, *COMPANIONS):
        recover(folder.with_name(name))


def _put_clone(tree: Tree, files: dict[str, bytes], patches: Sequence[Patch]) -> None:
    patches = _ours(tree, patches)
    changed = {
        name: content
        for name, content in files.items()
        if content != (tree.folder / name).read_bytes()
    }
    touched = sorted({name for patch in patches for name in patch.files})
    put(
        tree.folder,
        changed,
        _manifest(tree, files, patches, touched) if patches else None,
        keep=tree.folder,
    )


def _manifest(
    tree: Tree, files: dict[str, bytes], patches: Iterable[Patch], names: Iterable[str]
) -> dict[str, Any]:
    return {
        "made by": "openclip-hardpairs, python -m tools.apply_patches; its --reverse takes it away",
        "version": tree.version,
        "files": {name: sha256(files[name]) for name in names},
        "before": {name: sha256(tree.base[name]) for name in names},
        "patches": {patch.name: patch.text for patch in patches},
    }


def _noted(manifest: dict[str, Any] | None) -> tuple[Patch, ...]:
    return tuple(
        parse_patch(name, text) for name, text in (manifest or {}).get("patches", {}).items()
    )


def _ours(tree: Tree, patches: Iterable[Patch]) -> list[Patch]:
    """Without those that the tree has but not from us: what a user applied by hand stays, also through ``--reverse``."""
    return [patch for patch in patches if patch_state(patch, tree.base) != "applied"]


def _hooked(patches: Iterable[Patch]) -> bool:
    return any(patch.series == "hooks" for patch in patches)


def _without(files: dict[str, bytes], patches: Sequence[Patch]) -> dict[str, bytes]:
    for patch in reversed(patches):
        back = patch.reverse()
        if patch_state(back, files) != "open":
            raise _edited(edits(back, files), "lines that a patch put there were edited since")
        files = apply_patch(back, files)
    return files


def _edited(found: Sequence[Edit], what: str) -> UserError:
    return mismatch(
        what,
        where="\n         ".join(str(edit) for edit in found),
        why="nothing was changed: the series goes on or off as a whole",
        fix="take these edits back (git diff shows them), or name one group: --series hooks or --series mends",
    )


def _refuse_edited_copy(folder: Path, manifest: dict[str, Any] | None) -> None:
    edited = edited_files(folder, manifest["files"]) if manifest else []
    if manifest and not edited:
        return
    what = (
        f"was edited by hand: {', '.join(edited)}"
        if edited
        else f"was not made by us: it has no {MANIFEST}"
    )
    raise mismatch(
        f"{folder.name}/ {what}",
        where=str(folder),
        why="it is made anew from the installed package, and the edits would be lost",
        fix="move it away, and put lasting changes into a patch",
    )
