"""Folders of images, in class folders or not, with or without captions in text files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from hardpairs.core.parse import parse_json
from hardpairs.core.paths import check_regular
from hardpairs.core.remote import is_url
from hardpairs.data.shards import IMAGE_EXTENSIONS, MAX_CAPTION_BYTES, tars_in


def is_image_folder(name: str) -> bool:
    """Return whether a path is a folder that holds images and no shards."""
    folder = Path(name)
    return (
        not is_url(name)
        and folder.is_dir()
        and not tars_in(folder)
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


def captions_beside(image: Path) -> list[str] | None:
    """Return the captions in the file beside an image, without empty ones.

    A caption is a line of ``a.txt`` or ``a.caption``, or the ``caption`` in ``a.json``.

    Returns:
        Empty for a file that holds none or is not UTF-8; ``None`` without a file.
    """
    found = None
    for suffix in (".txt", ".caption", ".json"):
        path = image.with_suffix(suffix)
        try:
            check_regular(path, path)
            with open(path, "rb") as file:
                text = file.read(MAX_CAPTION_BYTES).decode("utf-8-sig")
        except UnicodeDecodeError:
            text = ""
        except OSError:
            continue
        found = _caption_of_json(text) if suffix == ".json" else _lines(text)
        if found:
            break
    return found


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _caption_of_json(text: str) -> list[str]:
    try:
        caption = parse_json(text)["caption"]
    except (ValueError, KeyError, TypeError):
        return []
    return [caption.strip()] if isinstance(caption, str) and caption.strip() else []
