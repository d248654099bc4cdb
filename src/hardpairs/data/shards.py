"""Random access into webdataset tars: an index of byte offsets per shard, and nothing is extracted.

The index is a sidecar (``00000.tar`` -> ``00000.index.npz``; of a tar behind a URL in the user's cache folder), built once by one pass
over the headers and captions; size and time of the tar are checked when it is opened. A folder that cannot be written to gets no
sidecar, and the index is built at each start.
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


def expand_shards(spec: str | os.PathLike[str] | list[str]) -> list[FilePath]:
    """Shards named by a brace text, a glob, a folder, ``::``-joined parts of these, or a list of them; paths, or URLs that fsspec knows.

    Raises:
        UserError: exit 2 when nothing matches or a part is no file (``pipe:``), exit 3 naming all missing files.
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
            fix="give a folder of .tar files, a glob, or a brace range such as 'data/{00000..00331}.tar'",
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
    found: list[FilePath] = []
    try:
        names = list(braceexpand(part))
    except ValueError:
        raise usage(
            "the braces do not close",
            where=part,
            fix="quote a range whole, such as 'data/{00000..00331}.tar'",
        ) from None
    for name in names:
        found += _glob(name) if glob.has_magic(name) else [file_path(name)]
    return found


def _glob(name: str) -> list[FilePath]:
    if is_url(name):
        folder, _, pattern = name.rpartition("/")
        return sorted(file_path(folder).glob(pattern))
    return [Path(path) for path in sorted(glob.glob(name))]


@dataclass(frozen=True)
class ShardIndex:
    """Where the samples of one tar lie: one entry per key, in the order of their first members.

    Attributes:
        keys, captions, groups, urls, hashes: texts by sample; a missing one is empty. A group is the json's value of ``group_key``, or webdataset's ``.cls``; a hash is
            img2dataset's sha256 of the image as downloaded.
        image_offset, image_size: int64 byte positions in the tar; size -1 where the sample has no image.
        has_caption: bool, whether a ``.txt`` member exists.
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
        """Reads the sidecar, or builds and (where possible) writes it.

        Raises:
            UserError: exit 3 when the tar is cut or is none.
        """
        stamp = np.array([INDEX_VERSION, *state_of(path)], dtype=np.int64)
        sidecar = beside(path, ".index.npz")
        index = cls._read_sidecar(sidecar, stamp)
        if index is None or index.group_key != group_key:
            index = build_index(path, group_key)
            with contextlib.suppress(
                OSError
            ):  # a read-only folder: the index is built at each start
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
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, PackedStrings):
                arrays[f"{field.name}_data"], arrays[f"{field.name}_offsets"] = (
                    value.data,
                    value.offsets,
                )
            else:
                arrays[field.name] = np.asarray(value)
        with atomic_open(sidecar) as file:
            np.savez(file, allow_pickle=False, **arrays)


def _read_field(arrays: Any, name: str) -> Any:
    if name not in arrays:
        return PackedStrings(arrays[f"{name}_data"], arrays[f"{name}_offsets"])
    return arrays[name] if arrays[name].ndim else arrays[name].item()


def build_index(path: FilePath, group_key: str = "group") -> ShardIndex:
    """One pass over a tar's headers (long names and pax included) and its small text members."""
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    end = 0
    try:
        with path.open("rb") as file:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    end = member.offset_data + member.size
                    if member.isreg() and not member.issparse():
                        key, _, extension = _split_name(member.name)
                        samples.setdefault(key, {}).setdefault(
                            extension, (member.offset_data, member.size)
                        )  # the first of a name wins
            _check_complete(path, file, end)
            return _index_from_members(file, samples, group_key)
    except (tarfile.TarError, OSError) as error:
        raise bad_input(
            f"not a readable tar: {error}", where=str(path), fix="download this shard again"
        ) from None


def _split_name(name: str) -> tuple[str, str, str]:
    """webdataset's rule: the key is the path up to the first dot of the file name, the rest is the extension."""
    folder, _, base = name.rpartition("/")
    stem, dot, extension = base.partition(".")
    return (f"{folder}/{stem}" if folder else stem), dot, extension.lower()


def _check_complete(path: FilePath, file: IO[bytes], end: int) -> None:
    """A whole tar closes with zero blocks after its last member; ``tarfile`` itself accepts a cut one in silence."""
    size = file.seek(0, os.SEEK_END)
    padded = -(-end // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    file.seek(min(padded, size))
    closing = file.read(2 * tarfile.BLOCKSIZE)
    if size < padded + tarfile.BLOCKSIZE or closing.strip(b"\0"):
        raise bad_input(
            "the shard is cut short",
            where=f"{path}, after byte {min(size, end)}",
            why="samples would be lost in silence",
            fix="download this shard again",
        )


def _index_from_members(
    file: IO[bytes], samples: dict[str, dict[str, tuple[int, int]]], group_key: str
) -> ShardIndex:
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
        groups.append(
            _text(meta.get(group_key)) or _read_text(file, members.get(LABEL_EXTENSION)) or ""
        )
        urls.append(_text(meta.get("url")))
        hashes.append(_text(meta.get("sha256")))
    keys, *texts = (
        PackedStrings.pack(column) for column in (samples, captions, groups, urls, hashes)
    )
    return ShardIndex(
        keys,
        texts[0],
        texts[1],
        texts[2],
        texts[3],
        image_offset,
        image_size,
        has_caption,
        group_key,
    )


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _read_text(file, place: tuple[int, int] | None) -> str | None:
    """A caption member's text; ``None`` (no usable caption) when absent, over 64 KiB or not UTF-8."""
    if place is None or place[1] > MAX_CAPTION_BYTES:
        return None
    file.seek(place[0])
    try:
        return file.read(place[1]).decode("utf-8").strip()
    except UnicodeDecodeError:
        return None


def _read_json(file, place: tuple[int, int] | None) -> dict:
    if place is None or place[1] > 1 << 20:
        return {}
    file.seek(place[0])
    try:
        value = json.loads(file.read(place[1]))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
