"""The patches that belong to each version of OpenCLIP."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hardpairs.core.errors import UserError, mismatch
from hardpairs.patching.diff import Patch, parse_patch

PATCHES = Path(__file__).with_name("patches")
"""The series. In a checkout a link to ``patches/`` at its root, in a wheel a folder."""
VERSIONS = ("3.3.0", "3.2.0", "2.32.0")
"""Versions of OpenCLIP with a series. The first is the pinned one; ``patches/*.patch`` fit it."""
MAIN = "4.x"
"""OpenCLIP's main, which has task objects. Its series is a folder of its own."""
SERIES = ("hooks", "mends", "all")
"""The groups of patches: hooks call our code, mends repair OpenCLIP and need none of it."""


def load_series(version: str, series: str = "all", folder: Path | None = None) -> list[Patch]:
    """Read the patches for a version of OpenCLIP, in order.

    ``patches/<version>/NAME.patch`` replaces ``patches/NAME.patch``. The patches for ``MAIN`` are
    those of its folder alone.

    Args:
        version: One of ``VERSIONS``, or ``MAIN``.
        series: One of ``SERIES``.
        folder: Where the patches are; ``PATCHES`` when None.

    Returns:
        The patches, sorted by name.

    Raises:
        UserError: Exit 4 for a version without a series.
    """
    if version not in (*VERSIONS, MAIN):
        raise unknown_version(version)
    folder = folder or PATCHES
    own = {path.name: path for path in sorted((folder / version).glob("*.patch"))}
    common = {path.name: path for path in sorted(folder.glob("*.patch"))}
    files = own if version == MAIN else {name: own.get(name, common[name]) for name in common}
    if not files:
        raise mismatch("the patches are missing", where=str(folder), fix="install hardpairs again")
    patches = [parse_patch(path.stem, path.read_text(encoding="utf-8")) for path in files.values()]
    return [patch for patch in patches if series in ("all", patch.series)]


@cache
def main_commit() -> dict[str, Any]:
    """Return the newest commit of ``MAIN`` that the series was tested on.

    Returns:
        Its ``commit``, its ``version``, and the sha256 of each of the trainer's ``files``.
    """
    content: dict[str, Any] = json.loads((PATCHES / MAIN / "commit.json").read_text("utf-8"))
    return content


def is_that_commit(files: Mapping[str, bytes]) -> bool:
    """Return whether files without our patches are those of ``main_commit``."""
    known = main_commit()["files"]
    return all(known.get(name) == hashlib.sha256(files[name]).hexdigest() for name in files)


def main_checkout(target: Path) -> str:
    """Return the command that brings a clone to ``main_commit``."""
    return f"git -C {target} checkout {main_commit()['commit'][:7]}"


def fingerprint(patches: list[Patch]) -> str:
    """Return the sha256 of the texts of patches, in hexadecimal."""
    return hashlib.sha256("\0".join(patch.text for patch in patches).encode("utf-8")).hexdigest()


def unknown_version(version: str, checkout: str = "") -> UserError:
    """Return the refusal of a version; ``checkout`` is the command that would bring a known one."""
    command = checkout or f"pip install open_clip_torch=={VERSIONS[0]}"
    return mismatch(
        f"there are no patches for OpenCLIP {version}",
        why="its training code differs from what the patches were written and tested for",
        fix=f"take {', '.join(VERSIONS)}, or main at {main_commit()['commit'][:7]}: {command}",
    )


def clone_version(tree: Path) -> str | None:
    """Return the version in ``open_clip/version.py`` beside a tree; None for a tree on its own."""
    file = tree.parent / "open_clip" / "version.py"
    if not file.is_file():
        return None
    text = file.read_text(encoding="utf-8", errors="replace")
    version = re.search(r"__version__\s*=\s*['\"]([^'\"]+)", text)
    return version[1] if version else "without a readable version"


def statistics(patches: list[Patch]) -> str:
    """Return a table of changed upstream lines: each patch, both groups, all.

    The changed lines of a patch are the sum over its hunks of max(added, removed).
    """
    rows = [(patch.name, patch.changed, ", ".join(patch.files)) for patch in patches]
    for series in ("hooks", "mends"):
        rows.append((series, sum(patch.changed for patch in patches if patch.series == series), ""))
    rows.append(("all", sum(patch.changed for patch in patches), ""))
    width = max(len(name) for name, _, _ in rows)
    lines = (f"{name:<{width}}  {changed:4d}  {files}" for name, changed, files in rows)
    return "\n".join(line.rstrip() for line in lines)
