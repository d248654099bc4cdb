"""Class folders: a folder of images for each class, called by the class's name."""

from __future__ import annotations

from pathlib import Path

from hardpairs.data.samples import Samples


def class_of(samples: Samples, row: int) -> str:
    """Return the name of the class folder that a row's image is in."""
    return Path(samples.keys[row]).parts[0]


def class_names(samples: Samples) -> list[str]:
    """Return the names of the class folders, sorted."""
    return sorted({class_of(samples, row) for row in range(len(samples))})
