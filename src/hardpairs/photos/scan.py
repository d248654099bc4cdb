"""The photos in folders and shards, listed without opening an image."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hardpairs.core.errors import Exit, UserError, usage
from hardpairs.core.parse import parse_json
from hardpairs.core.paths import read_regular
from hardpairs.core.remote import is_url
from hardpairs.data.shards import IMAGE_EXTENSIONS, ShardIndex, expand_shards

MAX_CAPTION = 1000
MAX_CAPTION_FILE = 1_000_000
"""Bytes of a text file beside a photo; a larger one is no caption."""
"""Characters of a caption that are kept."""
DAMAGED_TAR = "torn_tar"
"""The reason of a tar that cannot be read, in indexes and in their lists of unreadable files."""


class PhotoFile(NamedTuple):
    """The file, or the member of a tar, that holds one photo.

    Attributes:
        path: Absolute path of the file or tar.
        key: Key of the sample in a tar; empty for a file.
        offset: Byte in the tar at which the image starts; -1 for a file.
        size: Bytes of the image.
        mtime_ns: Time of the last change of the file or tar, in nanoseconds.
    """

    path: str
    key: str
    offset: int
    size: int
    mtime_ns: int

    @property
    def name(self) -> tuple[str, str]:
        """Path and key, which stay the same when the content changes."""
        return self.path, self.key


@dataclass
class ScanResult:
    """The files that a scan lists.

    Attributes:
        files: The photos, in order.
        damaged: Tars that cannot be read, with the reason.
        captions: Captions by (path, key), for the photos that have one.
        skipped: Number of names that were skipped, by reason.
        empty: Folders without any entry, and folders that cannot be read.
    """

    files: list[PhotoFile] = field(default_factory=list)
    damaged: dict[PhotoFile, str] = field(default_factory=dict)
    captions: dict[tuple[str, str], str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)


def scan(sources: list[str]) -> ScanResult:
    """List the photos of some sources.

    Links, and names that start with a dot, are skipped. The paths in the result are absolute and
    contain no links.

    Args:
        sources: Folders, which are searched to any depth, also for tars; single files; and shards
            as ``hardpairs.data.shards.expand_shards`` takes them.

    Raises:
        UserError: exit 2 when a source does not exist or is of another kind.
    """
    result = ScanResult()
    for source in sources:
        if is_url(source):
            raise usage(
                "only local folders and shards can be indexed",
                where=source,
                fix="download or mount them first",
            )
        if Path(source).is_dir():
            root = os.path.realpath(source)
            _scan_folder(root, root, result)
            _add_captions(root, result)
        elif _extension(source) in IMAGE_EXTENSIONS and Path(source).is_file():
            _add_file(os.path.realpath(source), result)
        elif Path(source).is_file() and _extension(source) != "tar":
            raise usage(
                "the source is neither an image nor a folder nor a tar",
                where=source,
                fix="name the folder of the photos",
            )
        else:
            for tar in expand_shards(source):
                _add_tar(os.path.realpath(str(tar)), result)
    result.files = list(dict.fromkeys(result.files))  # a folder and a file in it are both allowed
    return result


def _scan_folder(folder: str, root: str, result: ScanResult) -> None:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        result.skipped["folder that cannot be read"] += 1
        result.empty.append(folder)
        return
    if not entries:
        result.empty.append(folder)
    texts = {entry.name for entry in entries if entry.name.endswith(".txt")}
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_symlink():
            # A target inside the folder is listed under its own name.
            target = os.path.realpath(entry.path)
            result.skipped["link that leaves the folder"] += not _inside(target, root)
        elif entry.is_dir():
            _scan_folder(entry.path, root, result)
        elif entry.is_file() and _extension(entry.name) in IMAGE_EXTENSIONS:
            captioned = f"{entry.name.rpartition('.')[0]}.txt" in texts
            _add_file(entry.path, result, captioned=captioned)
        elif entry.is_file() and _extension(entry.name) == "tar":
            _add_tar(entry.path, result)


def _add_file(path: str, result: ScanResult, *, captioned: bool = True) -> None:
    result.files.append(_photo_file(path))
    if captioned and (caption := _caption_beside(path)):
        result.captions[path, ""] = caption


def _photo_file(path: str) -> PhotoFile:
    stat = os.stat(path)
    return PhotoFile(path, "", -1, stat.st_size, stat.st_mtime_ns)


def _add_tar(path: str, result: ScanResult) -> None:
    try:
        index, mtime = ShardIndex.open(Path(path)), os.stat(path).st_mtime_ns
    except UserError as error:
        if error.code != Exit.BAD_INPUT:
            raise
        result.damaged[_photo_file(path)] = DAMAGED_TAR
        return
    offsets, sizes = index.image_offset.tolist(), index.image_size.tolist()
    for key, caption, offset, size in zip(index.keys, index.captions, offsets, sizes, strict=True):
        if size < 0:
            result.skipped["sample without an image"] += 1
            continue
        result.files.append(PhotoFile(path, key, offset, size, mtime))
        if caption:
            result.captions[path, key] = caption


def _add_captions(root: str, result: ScanResult) -> None:
    """Add the captions of MiniCLIP's captions.json in the folder or beside it.

    Other content in a file of that name is ignored.
    """
    for path in (Path(root, "captions.json"), Path(root).parent / "captions.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            captions_of: dict[str, list[str]] = {}
            for entry in parse_json(path.read_text(encoding="utf-8")):
                caption = str(entry["caption"] or "").strip()
                captions_of.setdefault(entry["file_name"], []).append(caption)
            for name, captions in captions_of.items():
                if caption := " · ".join(filter(None, captions))[:MAX_CAPTION]:
                    result.captions[os.path.join(root, name), ""] = caption
                    result.captions[os.path.join(root, "images", name), ""] = caption
            return


def _inside(path: str, root: str) -> bool:
    return path.startswith(root.rstrip(os.sep) + os.sep)


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _caption_beside(path: str) -> str:
    """Return the text of the file of the same name with ``.txt``; empty where there is none."""
    try:
        text = read_regular(Path(path).with_suffix(".txt"), MAX_CAPTION_FILE)
        return text.decode("utf-8").strip()[:MAX_CAPTION]
    except (OSError, UnicodeDecodeError, ValueError):
        return ""
