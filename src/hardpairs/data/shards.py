"""Random access to the samples of webdataset tars, without extracting them.

Each tar has an index of byte offsets in a file beside it (``00000.index.npz``), or for a tar behind
a URL in the user's cache folder. It is built once, by one pass over the headers and captions; size
and time of the tar are checked when it is opened. In a folder that cannot be written to, the index
is built at each start.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import tarfile
import zipfile
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
from braceexpand import braceexpand

from hardpairs.core.atomic import atomic_open
from hardpairs.core.errors import bad_input, usage
from hardpairs.core.remote import FilePath, beside, file_path, is_url, state_of
from hardpairs.data.strings import PackedStrings

IMAGE_EXTENSIONS = ("jpg", "png", "jpeg", "webp", "bmp", "gif", "tif", "tiff", "heic", "heif")
"""The first that a sample has is its image (webdataset knows the first four)."""
TEXT_EXTENSION, LABEL_EXTENSION = "txt", "cls"
INDEX_VERSION = 4
MAX_CAPTION_BYTES = 65_536
MAX_JSON_BYTES = 1 << 20

Members = dict[str, tuple[int, int]]
"""(first byte, size) in a tar by extension."""


def expand_shards(spec: str | os.PathLike[str] | list[str]) -> list[FilePath]:
    """Return the shards that a text names.

    Args:
        spec: A brace text, a glob, a folder, several of these joined by ``::``, or a list of them;
            local, or URLs that fsspec knows.

    Raises:
        UserError: exit 2 when nothing matches or a part is not a file (``pipe:``), exit 3 for
            missing files, naming them.
    """
    parts = spec if isinstance(spec, list) else str(spec).split("::")
    paths = [path for part in parts for path in _expand_part(str(part))]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise bad_input(
            f"{len(missing)} of {len(paths)} shards are missing",
            where=", ".join(missing[:10]),
            fix="check the path and the range",
        )
    if not paths:
        raise usage(
            "no shard matches",
            where=str(spec),
            fix="give a folder of .tar files, a glob, or a brace range "
            "such as 'data/{00000..00331}.tar'",
        )
    twice = sorted(name for name, count in Counter(map(str, paths)).items() if count > 1)
    if twice:
        raise usage("a shard is named twice", where=", ".join(twice[:5]))
    return paths


def _expand_part(part: str) -> list[FilePath]:
    if part.startswith("pipe:"):
        raise usage(
            "only files are read here",
            where=part,
            why="a 'pipe:' name would run a command",
            fix="download or mount the shards first",
        )
    whole = file_path(part)
    if not part.endswith(".tar") and whole.is_dir():
        return sorted(whole.glob("*.tar"))
    if not part.endswith(".tar") and not set(part) & set("{*?[") and not whole.is_file():
        raise usage("no such file or folder", where=part, fix="check the path")
    try:
        names = list(braceexpand(part))
    except ValueError:
        raise usage(
            "the braces do not close",
            where=part,
            fix="quote a range whole, such as 'data/{00000..00331}.tar'",
        ) from None
    globbed = (_glob(name) if glob.has_magic(name) else [file_path(name)] for name in names)
    return [path for paths in globbed for path in paths]


def _glob(name: str) -> list[FilePath]:
    if is_url(name):
        folder, _, pattern = name.rpartition("/")
        return sorted(file_path(folder).glob(pattern))
    return [Path(path) for path in sorted(glob.glob(name))]


@dataclass(frozen=True)
class ShardIndex:
    """The samples of one tar, in the order of their first members. A missing text is empty.

    Attributes:
        keys: (n,) texts.
        captions: (n,) texts.
        groups: (n,) texts, the json's value of ``group_key``, or webdataset's ``.cls``.
        urls: (n,) texts.
        hashes: (n,) texts, img2dataset's sha256 of the image as downloaded.
        image_offset: (n,) int64, first byte of the image in the tar.
        image_size: (n,) int64, bytes of the image; -1 for a sample without one.
        has_caption: (n,) bool, whether a ``.txt`` member exists.
        group_key: Key of the group in a sample's json.
    """

    keys: PackedStrings
    captions: PackedStrings
    groups: PackedStrings
    urls: PackedStrings
    hashes: PackedStrings
    image_offset: np.ndarray
    image_size: np.ndarray
    has_caption: np.ndarray
    group_key: str = "group"

    @classmethod
    def open(cls, path: FilePath, group_key: str = "group") -> ShardIndex:
        """Read the index of a tar, or build it and write it where that is possible.

        Raises:
            UserError: exit 3 when the tar is cut short or not a tar.
        """
        stamp = np.array([INDEX_VERSION, *state_of(path)], dtype=np.int64)
        sidecar = beside(path, ".index.npz")
        index = cls._read_sidecar(sidecar, stamp)
        if index is None or index.group_key != group_key:
            index = build_index(path, group_key)
            with contextlib.suppress(OSError):  # a folder that cannot be written to
                index._write_sidecar(sidecar, stamp)
        return index

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def _read_sidecar(cls, sidecar: Path, stamp: np.ndarray) -> ShardIndex | None:
        try:
            with np.load(sidecar, allow_pickle=False) as arrays:
                if not np.array_equal(arrays["stamp"], stamp):
                    return None
                return cls(*(_read_field(arrays, field.name) for field in fields(cls)))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None

    def _write_sidecar(self, sidecar: Path, stamp: np.ndarray) -> None:
        arrays = {"stamp": stamp}
        for name, value in vars(self).items():
            if isinstance(value, PackedStrings):
                arrays |= {f"{name}_data": value.data, f"{name}_offsets": value.offsets}
            else:
                arrays[name] = np.asarray(value)
        with atomic_open(sidecar) as file:
            np.savez(file, allow_pickle=False, **arrays)


def _read_field(arrays: Any, name: str) -> Any:
    if name not in arrays:
        return PackedStrings(arrays[f"{name}_data"], arrays[f"{name}_offsets"])
    return arrays[name] if arrays[name].ndim else arrays[name].item()


def build_index(path: FilePath, group_key: str = "group") -> ShardIndex:
    """Build the index of a tar by one pass over its headers and its small text members."""
    samples: dict[str, Members] = {}
    end = 0
    try:
        with path.open("rb") as file:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    end = member.offset_data + member.size
                    if member.isreg() and not member.issparse():
                        key, _, extension = _split_name(member.name)
                        members = samples.setdefault(key, {})  # the first of a name wins
                        members.setdefault(extension, (member.offset_data, member.size))
            _check_complete(path, file, end)
            return _index_from_members(file, samples, group_key)
    except (tarfile.TarError, OSError) as error:
        raise bad_input(
            f"not a readable tar: {error}", where=str(path), fix="download this shard again"
        ) from None


def _split_name(name: str) -> tuple[str, str, str]:
    """Split a member's name by webdataset's rule: the key ends at the file name's first dot."""
    folder, _, base = name.rpartition("/")
    stem, dot, extension = base.partition(".")
    return (f"{folder}/{stem}" if folder else stem), dot, extension.lower()


def _check_complete(path: FilePath, file: IO[bytes], end: int) -> None:
    """Refuse a tar without zero blocks after its last member; ``tarfile`` accepts it silently."""
    size = file.seek(0, os.SEEK_END)
    padded = -(-end // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    file.seek(min(padded, size))
    closing = file.read(2 * tarfile.BLOCKSIZE)
    if size < padded + tarfile.BLOCKSIZE or closing.strip(b"\0"):
        raise bad_input(
            "the shard is cut short",
            where=f"{path}, after byte {min(size, end)}",
            why="samples would be lost silently",
            fix="download this shard again",
        )


def _index_from_members(file: IO[bytes], samples: dict[str, Members], group_key: str) -> ShardIndex:
    count = len(samples)
    image_offset, image_size = np.zeros(count, np.int64), np.full(count, -1, np.int64)
    has_caption = np.zeros(count, bool)
    captions, groups, urls, hashes = [], [], [], []
    for i, members in enumerate(samples.values()):
        for extension in IMAGE_EXTENSIONS:
            if extension in members:
                image_offset[i], image_size[i] = members[extension]
                break
        caption = _read_text(file, members.get(TEXT_EXTENSION))
        has_caption[i] = caption is not None
        captions.append(caption or "")
        meta = _read_json(file, members.get("json"))
        label = _read_text(file, members.get(LABEL_EXTENSION))
        groups.append(_text(meta.get(group_key)) or label or "")
        urls.append(_text(meta.get("url")))
        hashes.append(_text(meta.get("sha256")))
    texts = [PackedStrings.pack(texts) for texts in (samples, captions, groups, urls, hashes)]
    rest = (image_offset, image_size, has_caption, group_key)
    return ShardIndex(texts[0], texts[1], texts[2], texts[3], texts[4], *rest)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _read_text(file: IO[bytes], member: tuple[int, int] | None) -> str | None:
    """Return the text of a member; ``None`` where it is absent, over 64 KiB, or not UTF-8."""
    if member is None or member[1] > MAX_CAPTION_BYTES:
        return None
    file.seek(member[0])
    try:
        return file.read(member[1]).decode("utf-8").strip()
    except UnicodeDecodeError:
        return None


def _read_json(file: IO[bytes], member: tuple[int, int] | None) -> dict[str, Any]:
    if member is None or member[1] > MAX_JSON_BYTES:
        return {}
    file.seek(member[0])
    try:
        value = json.loads(file.read(member[1]))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
