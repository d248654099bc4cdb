"""Which patches belong to which version of OpenCLIP."""

from __future__ import annotations

import re
from pathlib import Path

from hardpairs.core.errors import UserError, mismatch
from hardpairs.patching.diff import Patch, parse_patch

PATCHES = Path(__file__).resolve().parents[3] / "patches"
VERSIONS = (
    "3.3.0",
    "3.2.0",
    "2.32.0",
)  # the first is the pinned one; patches/*.patch are written for it
SERIES = ("hooks", "mends", "all")


def load_series(version: str, series: str = "all", folder: Path | None = None) -> list[Patch]:
    """The patches for a version, in order: ``patches/*.patch``, some of them replaced by ``patches/<version>/*.patch``.

    Raises:
        UserError: for a version that has no series.
    """
    if version not in VERSIONS:
        raise unknown_version(version)
    folder = folder or PATCHES
    files = {path.name: path for path in sorted(folder.glob("*.patch"))}
    files |= {path.name: path for path in (folder / version).glob("*.patch") if path.name in files}
    if not files:
        raise mismatch(
            f"no patches in {folder}", fix="run this from a checkout of openclip-hardpairs"
        )
    patches = [parse_patch(path.stem, path.read_text(encoding="utf-8")) for path in files.values()]
    return [patch for patch in patches if series in ("all", patch.series)]


def unknown_version(version: str, checkout: str = "") -> UserError:
    """The refusal of a version; ``checkout`` is the command that would bring a known one."""
    return mismatch(
        f"there are no patches for OpenCLIP {version}",
        why="its training code differs from what the patches were written and tested for",
        fix=f"take {', '.join(VERSIONS)}: {checkout or f'pip install open_clip_torch=={VERSIONS[0]}'}",
    )


def clone_version(tree: Path) -> str | None:
    """The version that stands beside a tree in ``open_clip/version.py``; None for a tree on its own."""
    file = tree.parent / "open_clip" / "version.py"
    if not file.is_file():
        return None
    found = re.search(
        r"__version__\s*=\s*['\"]([^'\"]+)", file.read_text(encoding="utf-8", errors="replace")
    )
    return found[1] if found else "without a readable version"


def statistics(patches: list[Patch]) -> str:
    """Changed upstream lines, sum over hunks of max(added, removed), as a table: each patch, both groups, total."""
    rows = [(patch.name, patch.changed, ", ".join(patch.files)) for patch in patches]
    for series in ("hooks", "mends"):
        rows.append((series, sum(patch.changed for patch in patches if patch.series == series), ""))
    rows.append(("all", sum(patch.changed for patch in patches), ""))
    width = max(len(name) for name, _, _ in rows)
    return "\n".join(
        f"{name:<{width}}  {changed:4d}  {files}".rstrip() for name, changed, files in rows
    )
