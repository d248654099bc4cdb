"""What lies in folders and shards: the places of pictures, without opening one."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from formats.errors import usage
from formats.remote import is_url
from formats.shards import IMAGE_EXTENSIONS, ShardIndex, expand_shards

MAX_CAPTION = 1000


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
    """Places in order, captions of those that have one in their shard or in a captions.json, and how many names were passed over, by reason."""

    places: list[Place] = field(default_factory=list)
    captions: dict[tuple[str, str], str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)


def scan(sources: list[str]) -> Found:
    """The pictures of folders (in any depth; tars in them, too), single files, and shards as in ``formats.shards.expand_shards``.

    Names that start with a dot are passed over, and links. Paths are absolute and without links.

    Raises:
        UserError: exit 2 when a source is not there, exit 3 for a torn tar.
    """
    found = Found()
    for source in sources:
        if is_url(source):
            raise usage("only local folders and shards are indexed", where=source, fix="download or mount them first")
        if Path(source).is_dir():
            root = os.path.realpath(source)
            _scan_folder(root, root, found)
            _add_captions(root, found)
        elif _extension(source) in IMAGE_EXTENSIONS and Path(source).is_file():
            _add_file(os.path.realpath(source), found)
        elif Path(source).is_file() and _extension(source) != "tar":
            raise usage("neither a picture nor a folder nor a tar", where=source, fix="name the folder of the photographs")
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
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_symlink():  # what it points to is indexed under its own name, if it lies in the folder
            found.skipped["link that leaves the folder"] += not _inside(os.path.realpath(entry.path), root)
        elif entry.is_dir():
            _scan_folder(entry.path, root, found)
        elif entry.is_file() and _extension(entry.name) in IMAGE_EXTENSIONS:
            stat = entry.stat()
            found.places.append(Place(entry.path, "", -1, stat.st_size, stat.st_mtime_ns))
        elif entry.is_file() and _extension(entry.name) == "tar":
            _add_tar(entry.path, found)


def _add_file(path: str, found: Found) -> None:
    stat = os.stat(path)
    found.places.append(Place(path, "", -1, stat.st_size, stat.st_mtime_ns))


def _add_tar(path: str, found: Found) -> None:
    index, mtime = ShardIndex.open(Path(path)), os.stat(path).st_mtime_ns
    for key, caption, offset, size in zip(index.keys, index.captions, index.image_offset.tolist(), index.image_size.tolist(), strict=True):
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
            for entry in json.loads(path.read_text(encoding="utf-8")):
                for place in {os.path.join(root, entry["file_name"]), os.path.join(root, "images", entry["file_name"])}:
                    before = found.captions.get((place, ""))
                    caption = f"{before} · {entry['caption']}" if before else str(entry["caption"])
                    found.captions[place, ""] = caption[:MAX_CAPTION]
            return


def _inside(path: str, root: str) -> bool:
    return path.startswith(root.rstrip(os.sep) + os.sep)


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower()


def caption_beside(path: str) -> str:
    """The text file of the same name, as in a folder of pictures and captions; empty where there is none."""
    try:
        return Path(path).with_suffix(".txt").read_text(encoding="utf-8").strip()[:MAX_CAPTION]
    except (OSError, UnicodeDecodeError, ValueError):
        return ""
