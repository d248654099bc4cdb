"""Folders of images, in class folders or not, with or without captions in text files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from hardpairs.core.remote import is_url
from hardpairs.data.shards import IMAGE_EXTENSIONS, MAX_CAPTION_BYTES


def is_image_folder(name: str) -> bool:
    """Return whether a path is a folder that holds images and no shards."""
    folder = Path(name)
    return (
        not is_url(name)
        and folder.is_dir()
        and not any(folder.glob("*.tar"))
        and next(image_paths(folder), None) is not None
    )


def image_paths(folder: Path) -> Iterator[Path]:
    """Yield the images below a folder by name.

    Links to folders are followed, as by torchvision's ImageFolder. Files and folders whose name
    starts with a dot are left out.
    """
    for parent, folders, files in os.walk(folder, followlinks=True):
        here = Path(parent).resolve()
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not here.is_relative_to((here / name).resolve())
        )
        for name in sorted(files):
            if not name.startswith(".") and name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS:
                yield Path(parent) / name


def captions_beside(image: Path) -> list[str]:
    """Return the lines of the text file beside an image (``a.txt``), without empty ones."""
    try:
        text = image.with_suffix(".txt").read_text(encoding="utf-8-sig")[:MAX_CAPTION_BYTES]
    except (OSError, UnicodeDecodeError):
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]
