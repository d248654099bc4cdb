"""Folders of an index that may be on a drive that is not mounted."""

from __future__ import annotations

import os
from bisect import bisect_left

from hardpairs.core.errors import bad_input
from hardpairs.photos.index import Index
from hardpairs.photos.scan import ScanResult


def check_kept(old: Index, listed: ScanResult, sources: list[str]) -> None:
    """Check that no folder that held photos of an index looks like a drive that is not mounted.

    These are sources without a photo, and folders at any depth that are empty or cannot be read.

    Args:
        old: The index before.
        listed: What the sources hold now.
        sources: The sources.

    Raises:
        UserError: Exit 3 with the folders and the number of their photos in the index.
    """
    held = sorted(old.photos.paths)
    found = sorted({file.path for file in listed.files} | {file.path for file in listed.damaged})
    roots = [os.path.realpath(source) for source in sources]
    suspects = [root for root in roots if not _number_below(found, root)] + listed.empty
    lost = {path: number for path in suspects if (number := _number_below(held, path))}
    if lost:
        photos = sum(_number_below(held, path) for path in _outermost(lost))
        raise bad_input(
            f"folders of {photos} of the index's {len(held)} photos hold no photo",
            where=", ".join(list(lost)[:5]),
            why="a drive that is not mounted looks like this",
            fix="mount it; or give `forget`, if the photos are gone for good",
        )


def _number_below(paths: list[str], folder: str) -> int:
    """Return how many of some sorted paths are in a folder or are it."""
    inside = folder.rstrip(os.sep) + os.sep
    own = bisect_left(paths, folder + "\0") - bisect_left(paths, folder)
    return own + bisect_left(paths, inside + chr(0x10FFFF)) - bisect_left(paths, inside)


def _outermost(folders: dict[str, int]) -> list[str]:
    """Return the folders that are in no other one of them."""
    return [f for f in folders if not any(f != g and f.startswith(g + os.sep) for g in folders)]
