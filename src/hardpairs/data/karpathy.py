"""Karpathy's splits of Flickr8k, Flickr30k and COCO: ``dataset_flickr30k.json`` and others.

    {"images": [{"filename": "a.jpg", "filepath": "val2014", "split": "test", "imgid": 0,
                 "cocoid": 391895, "sentences": [{"raw": "A man ...", "sentid": 770337}, ...]}]}

``filepath`` and ``cocoid`` are in COCO's file alone. Its ``sentid`` is the id of COCO's annotation.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hardpairs.core.errors import bad_input, usage
from hardpairs.core.remote import FilePath
from hardpairs.data.caption_lists import IMAGE_FOLDERS

REST = "restval"
"""COCO's images for validation that are trained on, too; ``train`` means both."""
FOLDERS = (*IMAGE_FOLDERS, "flickr30k_images", "Flicker8k_Dataset")
"""Folders beside the file in which the images may be."""


@dataclass(frozen=True)
class KarpathyRows:
    """The captions of a part, a row for each.

    Attributes:
        images: Path of each row's image below the folder of the images.
        captions: The captions.
        image_ids: COCO's id of each row's image, else its number in the file.
        caption_ids: The id of each caption.
    """

    images: list[str] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    image_ids: list[str] = field(default_factory=list)
    caption_ids: list[str] = field(default_factory=list)


def is_karpathy(content: Any) -> bool:
    """Return whether the content of a JSON file has Karpathy's form."""
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not images or not isinstance(images[0], dict):
        return False
    return "sentences" in images[0]


def read_karpathy(content: Any, split: str | None, where: str) -> KarpathyRows:
    """Return the captions of a part.

    Args:
        content: Content of the file.
        split: ``train``, ``val`` or ``test``.
        where: The file, for errors.

    Raises:
        UserError: Exit 2 without a split, or for one that the file does not have; exit 3 for a
            field that is missing, naming it.
    """
    counts = Counter("train" if _split(e) == REST else _split(e) for e in content["images"])
    if split not in counts:
        parts = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        several = len(counts) > 1 and not split
        raise usage(
            f"the file has no part {split!r}" if split else "no part of the file is named",
            where=f"{where}, images of each part: {parts}",
            why="images to test on would be trained on" if several else "",
            fix="`split` " + ("test" if "test" in counts else sorted(counts)[0]),
        )
    rows = KarpathyRows()
    for number, entry in enumerate(content["images"]):
        if ("train" if _split(entry) == REST else _split(entry)) != split:
            continue
        try:
            folder = entry.get("filepath", "")
            name = f"{folder}/{entry['filename']}" if folder else str(entry["filename"])
            for sentence in entry["sentences"]:
                rows.images.append(name)
                rows.captions.append(str(sentence["raw"]).strip())
                rows.image_ids.append(str(entry.get("cocoid", entry.get("imgid", number))))
                rows.caption_ids.append(str(sentence.get("sentid", len(rows.caption_ids))))
        except (KeyError, TypeError, AttributeError) as error:
            raise bad_input(
                f"not Karpathy's form, the field {error} is missing",
                where=f"{where}, image {number}",
            ) from None
    if not rows.images:
        raise bad_input("the part has no caption", where=f"{where}: {split}")
    if unsafe := [name for name in rows.images if name.startswith("/") or ".." in name.split("/")]:
        raise bad_input("a file name leaves the image folder", where=f"{where}: {unsafe[0]}")
    return rows


def _split(entry: Any) -> str:
    return str(entry.get("split", "")) if isinstance(entry, dict) else ""


def karpathy_root(image: str, beside: FilePath) -> FilePath:
    """Return the folder of the images: that of the file, or one of ``FOLDERS`` in it.

    Args:
        image: Path of the first image below it.
        beside: Folder of the file.
    """
    tried = [beside, *(beside / folder for folder in FOLDERS)]
    return next((folder for folder in tried if _holds(folder, image)), beside)


def _holds(folder: FilePath, image: str) -> bool:
    with contextlib.suppress(OSError, ValueError):  # no file can have such a name
        return bool((folder / image).is_file())
    return False
