"""What lies in folders and shards: the places of pictures, without opening one."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hardpairs.core.errors import Exit, UserError, usage
from hardpairs.core.remote import is_url
from hardpairs.data.shards import IMAGE_EXTENSIONS, ShardIndex, expand_shards

MAX_CAPTION = 1000
TORN = "torn_tar"


class Place(NamedTuple):
    """Where the bytes of one picture are, and what tells that they are still the same.

    ``key`` is the sample's key in a tar, empty for a file; ``offset`` is -1 for a file; ``size`` in bytes; ``mtime_ns`` of the file or tar.
    """

    path: str
    key: str
    offset: int
    size: int
    mtime_ns: int


@dataclass
class Found:
    """Places in order, captions of those that have one, tars that cannot be read, and how many names were passed over, by reason."""

    places: list[Place] = field(default_factory=list)
    torn: dict[Place, str] = field(default_factory=dict)
    captions: dict[tuple[str, str], str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)


def scan(sources: list[str]) -> Found:
    """The pictures of folders (in any depth; tars in them, too), single files, and shards as in ``hardpairs.data.shards.expand_shards``.

    Names that start with a dot are passed over, and links. Paths are absolute and without links.

    Raises:
        UserError: exit 2 when a source is not there.
    """
    found = Found()
    for source in sources:
        if is_url(source):
            raise usage(
                "only local folders and shards are indexed",
                where=source,
                fix="download or mount them first",
            )
        if Path(source).is_dir():
            root = os.path.realpath(source)
            _scan_folder(root, root, found)
            _add_captions(root, found)
        elif _extension(source) in IMAGE_EXTENSIONS and Path(source).is_file():
            _add_file(os.path.realpath(source), found)
        elif Path(source).is_file() and _extension(source) != "tar":
            raise usage(
                "neither a picture nor a folder nor a tar",
                where=source,
                fix="name the folder of the photographs",
            )
        else:
            for tar in expand_shards(source):
                _add_tar(os.path.realpath(tar), found)
    found.places = list(dict.fromkeys(found.places))  # a folder and a file in it
    return found


def _scan_folder(folder: str, root: str, found: Found) -> None:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        found.skipped["folder that cannot be read"] += 1
        return
    texts = {entry.name for entry in entries if entry.name.endswith(".txt")}
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if (
            entry.is_symlink()
        ):  # what it points to is indexed under its own name, if it lies in the folder
            found.skipped["link that leaves the folder"] += not _inside(
                os.path.realpath(entry.path), root
            )
        elif entry.is_dir():
            _scan_folder(entry.path, root, found)
        elif entry.is_file() and _extension(entry.name) in IMAGE_EXTENSIONS:
            _add_file(entry.path, found, captioned=f"{entry.name.rpartition('.')[0]}.txt" in texts)
        elif entry.is_file() and _extension(entry.name) == "tar":
            _add_tar(entry.path, found)


def _add_file(path: str, found: Found, *, captioned: bool = True) -> None:
    found.places.append(_file_place(path))
    if captioned and (caption := _caption_beside(path)):
        found.captions[path, ""] = caption


def _file_place(path: str) -> Place:
    stat = os.stat(path)
    return Place(path, "", -1, stat.st_size, stat.st_mtime_ns)


def _add_tar(path: str, found: Found) -> None:
    try:
        index, mtime = ShardIndex.open(Path(path)), os.stat(path).st_mtime_ns
    except UserError as error:
        if error.code != Exit.BAD_INPUT:
            raise
        found.torn[_file_place(path)] = TORN
        return
    for key, caption, offset, size in zip(
        index.keys,
        index.captions,
        index.image_offset.tolist(),
        index.image_size.tolist(),
        strict=True,
    ):
        if size < 0:
            found.skipped["sample without a picture"] += 1
            continue
        found.places.append(Place(path, key, offset, size, mtime))
        if caption:
            found.captions[path, key] = caption


def _add_captions(root: str, found: Found) -> None:
    """Of MiniCLIP's captions.json in the folder or beside it; whatever else a file of that name holds is no matter here."""
    for path in (Path(root, "captions.json"), Path(root).parent / "captions.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            told: dict[str, list[str]] = {}
            for entry in json.loads(path.read_text(encoding="utf-8")):
                told.setdefault(entry["file_name"], []).append(str(entry["caption"] or "").strip())
            for name, captions in told.items():
                if caption := " · ".join(filter(None, captions))[:MAX_CAPTION]:
                    found.captions |= {
                        (os.path.join(root, name), ""): caption,
                        (os.path.join(root, "images", name), ""): caption,
                    }
            return


def _inside(path: str, root: str) -> bool:
    return path.startswith(root.rstrip(os.sep) + os.sep)


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _caption_beside(path: str) -> str:
    """The text file of the same name, as in a folder of pictures and captions; empty where there is none."""
    try:
        return Path(path).with_suffix(".txt").read_text(encoding="utf-8").strip()[:MAX_CAPTION]
    except (OSError, UnicodeDecodeError, ValueError):
        return ""
