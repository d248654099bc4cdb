"""The patches that belong to each version of OpenCLIP."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from hardpairs.core.errors import UserError, mismatch
from hardpairs.patching.diff import Patch, parse_patch

PATCHES = Path(__file__).with_name("patches")
"""The series. In a checkout a link to ``patches/`` at its root, in a wheel a folder."""
VERSIONS = ("3.3.0", "3.2.0", "2.32.0")
"""Versions of OpenCLIP with a series. The first is the pinned one; ``patches/*.patch`` fit it."""
SERIES = ("hooks", "mends", "all")
"""The groups of patches: hooks call our code, mends repair OpenCLIP and need none of it."""


def load_series(version: str, series: str = "all", folder: Path | None = None) -> list[Patch]:
    """Read the patches for a version of OpenCLIP, in order.

    ``patches/<version>/NAME.patch`` replaces ``patches/NAME.patch``.

    Args:
        version: One of ``VERSIONS``.
        series: One of ``SERIES``.
        folder: Where the patches are; ``PATCHES`` when None.

    Returns:
        The patches, sorted by name.

    Raises:
        UserError: Exit 4 for a version without a series.
    """
    if version not in VERSIONS:
        raise unknown_version(version)
    folder = folder or PATCHES
    files = {path.name: path for path in sorted(folder.glob("*.patch"))}
    files |= {path.name: path for path in (folder / version).glob("*.patch") if path.name in files}
    if not files:
        raise mismatch("the patches are missing", where=str(folder), fix="install hardpairs again")
    patches = [parse_patch(path.stem, path.read_text(encoding="utf-8")) for path in files.values()]
    return [patch for patch in patches if series in ("all", patch.series)]


def fingerprint(patches: list[Patch]) -> str:
    """Return the sha256 of the texts of patches, in hexadecimal."""
    return hashlib.sha256("\0".join(patch.text for patch in patches).encode("utf-8")).hexdigest()


def unknown_version(version: str, checkout: str = "") -> UserError:
    """Return the refusal of a version; ``checkout`` is the command that would bring a known one."""
    command = checkout or f"pip install open_clip_torch=={VERSIONS[0]}"
    return mismatch(
        f"there are no patches for OpenCLIP {version}",
        why="its training code differs from what the patches were written and tested for",
        fix=f"take {', '.join(VERSIONS)}: {command}",
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
