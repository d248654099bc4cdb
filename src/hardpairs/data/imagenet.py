"""ImageNet's 1,000 classes: the names of their folders, in the order of OpenCLIP's class names."""

from __future__ import annotations

import re
from pathlib import Path

from hardpairs.core.errors import bad_input

WORDNET_ID = re.compile(r"n\d{8}")
"""Names of ImageNet's class folders."""


def imagenet_ids() -> list[str]:
    """Return the WordNet ids of the 1,000 classes, ascending."""
    from timm.data.imagenet_info import ImageNetInfo

    return [str(name) for name in ImageNetInfo().label_names()]  # type: ignore[no-untyped-call]


def check_imagenet_folder(folder: str) -> None:
    """Check that OpenCLIP's evaluation numbers the classes of a folder rightly.

    It takes the i-th folder for the i-th of the 1,000 classes, so that a subset has wrong classes.

    Args:
        folder: A folder with ImageNet's class folders, as ``--imagenet-val`` takes it.

    Raises:
        UserError: Exit 3 when the folders are not the first classes of ImageNet.
    """
    names = sorted(path.name for path in Path(folder).iterdir() if path.is_dir())
    ids = imagenet_ids()
    wrong = [name for name, expected in zip(names, ids, strict=False) if name != expected]
    if all(WORDNET_ID.fullmatch(name) for name in names) and (wrong or len(names) > len(ids)):
        raise bad_input(
            f"{len(names)} class folders are not ImageNet's 1,000",
            where=f"{folder}: {(wrong or names[len(ids) :])[0]}",
            why="OpenCLIP takes the i-th folder for the i-th of all 1,000 classes",
            fix="all 1,000 folders; or measure the subset with hardpairs evaluate --zero-shot",
        )
