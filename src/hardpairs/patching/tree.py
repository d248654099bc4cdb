"""One ``open_clip_train`` folder and the patches on it: its state, a plan, the change."""

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
from hardpairs.patching.folders import (
    MANIFEST,
    edited_files,
    put,
    read_manifest,
    read_tree,
    recover,
    retire,
    sha256,
)
from hardpairs.patching.series import MAIN, main_checkout


@dataclass(frozen=True)
class Tree:
    """A tree and its patches as they stand on the disk.

    Attributes:
        folder: The ``open_clip_train`` folder.
        version: OpenCLIP's version.
        generated: True for our copy of the installed package, False for a user's clone.
        files: Contents by path, as they are now; of a clone only the files that patches touch.
        base: The same without our patches; for our copy the installed package.
        patches: The patches that an earlier run applied and noted.
    """

    folder: Path
    version: str
    generated: bool
    files: dict[str, bytes]
    base: dict[str, bytes]
    patches: tuple[Patch, ...]


def read_generated(folder: Path, version: str, installed: Path) -> Tree:
    """Read our copy of the installed package, which may not exist yet.

    Args:
        folder: Where the copy is or will be.
        version: OpenCLIP's version.
        installed: The installed ``open_clip_train``.

    Returns:
        The tree; without files when there is no copy.

    Raises:
        UserError: Exit 4 when the copy was edited by hand, or is not ours.
    """
    manifest = read_manifest(folder)
    if folder.exists():
        _refuse_edited_copy(folder, manifest)
    files = read_tree(folder) if folder.exists() else {}
    return Tree(folder, version, True, files, read_tree(installed), _noted(manifest))


def read_clone(folder: Path, version: str, series: Sequence[Patch]) -> Tree:
    """Read the tree in a user's clone.

    Args:
        folder: The ``open_clip_train`` folder.
        version: OpenCLIP's version.
        series: The patches for it. Only files that they or an earlier run's touch are read.

    Returns:
        The tree.

    Raises:
        UserError: Exit 4 when lines that an earlier run put there were edited since.
    """
    manifest = read_manifest(folder) or {}
    noted = _noted(manifest)
    names = {name for patch in (*series, *noted) for name in patch.files}
    files = {
        name: (folder / name).read_bytes() for name in sorted(names) if (folder / name).is_file()
    }
    # git checkout takes a patch off without our note of it
    patches = tuple(patch for patch in noted if patch_state(patch, files) != "open")
    base = _without(files, patches)
    for name, before in manifest.get("before", {}).items():
        if sha256(files.get(name, b"")) == manifest["files"][name] and sha256(base[name]) != before:
            what = "taking the patches off does not give the file back as it was"
            raise mismatch(what, where=str(folder / name), fix="git checkout it")
    return Tree(folder, version, False, files, base, patches)


def plan(tree: Tree, patches: Iterable[Patch]) -> dict[str, bytes]:
    """Return the files of a tree with these patches and no other of ours.

    Raises:
        UserError: Exit 4 naming every edited line and every folder that is in the way.
    """
    patches = _ours(tree, patches)
    in_the_way = [edit for patch in patches for edit in edits(patch, tree.base)]
    if in_the_way:
        what = f"the patches do not fit {tree.folder}: lines that they change were edited"
        raise _edited(in_the_way, what, _other_commit(tree))
    if not tree.generated:
        refuse_companions(tree.folder, wanted=_hooked(patches))
    files = tree.base
    for patch in patches:
        files = apply_patch(patch, files)
    return files


def is_current(tree: Tree, patches: Sequence[Patch]) -> bool:
    """Return True when ``write`` would change nothing."""
    wanted = [(patch.name, patch.text) for patch in _ours(tree, patches)]
    if wanted != [(patch.name, patch.text) for patch in tree.patches]:
        return False
    settled = {"in place"} if _hooked(patches) else {"missing", "not ours"}
    return tree.files == plan(tree, patches) and (
        tree.generated or set(companion_states(tree.folder).values()) <= settled
    )


def write(tree: Tree, patches: Sequence[Patch]) -> None:
    """Bring a tree to just these patches in one step, and our package beside it.

    At every moment the hooks in the tree find our package beside them: it is put there before the
    hooks, removed after them, and renewed only while the tree has no patch.
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
        # True also after a failure, such as a full disk, that left the tree without hooks.
        if not _hooked(_noted(read_manifest(tree.folder))):
            drop_companions(tree.folder)


def take_away(tree: Tree) -> None:
    """Remove our copy in one step."""
    retire(tree.folder)


def clear(folder: Path) -> None:
    """Finish or undo what a killed run left beside a tree."""
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
    manifest = _manifest(tree, files, patches, touched) if patches else None
    put(tree.folder, changed, manifest, keep=tree.folder)


def _manifest(
    tree: Tree, files: dict[str, bytes], patches: Iterable[Patch], names: Iterable[str]
) -> dict[str, Any]:
    return {
        "made by": "openclip-hardpairs, hardpairs patch; its --reverse removes it",
        "version": tree.version,
        "files": {name: sha256(files[name]) for name in names},
        "before": {name: sha256(tree.base[name]) for name in names},
        "patches": {patch.name: patch.text for patch in patches},
    }


def _noted(manifest: dict[str, Any] | None) -> tuple[Patch, ...]:
    patches = (manifest or {}).get("patches", {})
    return tuple(parse_patch(name, text) for name, text in patches.items())


def _ours(tree: Tree, patches: Iterable[Patch]) -> list[Patch]:
    """Drop the patches that a user applied by hand: they stay, also through ``--reverse``."""
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


def _other_commit(tree: Tree) -> str:
    """Return what helps first where the patches do not fit a clone of main: a known commit."""
    if tree.version != MAIN or tree.generated:
        return ""
    return f"{main_checkout(tree.folder.parents[1])}, the newest commit that they know; or "


def _edited(in_the_way: Sequence[Edit], what: str, better: str = "") -> UserError:
    return mismatch(
        what,
        where="\n         ".join(str(edit) for edit in in_the_way),
        why="nothing was changed: the series goes on or off as a whole",
        fix=f"{better}take these edits back (git diff shows them), or patch with one group, hooks "
        "or mends",
    )


def _refuse_edited_copy(folder: Path, manifest: dict[str, Any] | None) -> None:
    edited = edited_files(folder, manifest["files"]) if manifest else []
    if manifest and not edited:
        return
    fault = f"it was edited by hand: {', '.join(edited)}" if edited else f"it has no {MANIFEST}"
    raise mismatch(
        f"{folder.name}/ is not as we made it: {fault}",
        where=str(folder),
        why="it would be made anew from the installed package, and the edits be lost",
        fix="move it away, and put lasting changes into a patch",
    )
