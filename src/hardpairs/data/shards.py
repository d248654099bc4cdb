"""Random access to the samples of webdataset tars, without extracting them.

Each tar has an index of byte offsets in a file beside it (``00000.index.npz``), or for a tar behind
a URL in the user's cache folder. It is built once, by one pass over the headers and captions; size
and time of the tar are checked when it is opened. In a folder that cannot be written to, the index
is built at each start.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import logging
import os
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from braceexpand import braceexpand
from upath import UPath

from hardpairs.core.atomic import atomic_open
from hardpairs.core.errors import bad_input, usage
from hardpairs.core.parse import parse_json
from hardpairs.core.remote import (
    FilePath,
    beside,
    check_ranges,
    file_path,
    is_file,
    is_url,
    open_in_order,
    state_of,
)
from hardpairs.data.members import split_member
from hardpairs.data.strings import PackedStrings, printable, readable

LOG = logging.getLogger(__name__)

IMAGE_EXTENSIONS = ("jpg", "png", "jpeg", "webp", "bmp", "gif", "tif", "tiff", "heic", "heif")
"""The first that a sample has is its image (webdataset knows the first four)."""
TEXT_EXTENSION, LABEL_EXTENSION = "txt", "cls"
INDEX_VERSION = 5
MAX_CAPTION_BYTES = 65_536
MAX_JSON_BYTES = 1 << 20
AT_ONCE = 16
"""Tars behind URLs that are opened at once."""
T = TypeVar("T")

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
    parts = spec if isinstance(spec, list) else _parts(str(spec))
    paths = [path for part in parts for path in _expand_part(str(part))]
    there = _each(is_file, paths)
    missing = [str(path) for path, found in zip(paths, there, strict=True) if not found]
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
    twice = sorted(name for name, count in Counter(map(_normal, paths)).items() if count > 1)
    if twice:
        raise usage("a shard is named twice", where=", ".join(twice[:5]))
    return paths


def tars_in(folder: FilePath) -> list[FilePath]:
    """Return the tars of a folder by name. Names that start with a dot are left out."""
    found = folder.glob("*.tar" if isinstance(folder, UPath) else "*.[tT][aA][rR]")
    return sorted(path for path in found if not path.name.startswith("."))


def shard_names(paths: Sequence[FilePath]) -> list[str]:
    """Return the names of some shards: the ends of their paths by which they differ, without .tar.

    Example:
        >>> shard_names([Path("/data/cc3m/00000.tar"), Path("/data/cc3m/00001.tar")])
        ['00000', '00001']
        >>> shard_names([Path("/data/cc3m/00000.tar"), Path("/data/cc12m/00000.tar")])
        ['cc3m/00000', 'cc12m/00000']
    """
    whole = [re.split("/+", _normal(path)) for path in paths]
    endings = [[*folders, path.stem] for (*folders, _), path in zip(whole, paths, strict=True)]
    for parts in (endings, whole):  # whole: shards whose names differ by the suffix alone
        for depth in range(1, max(map(len, parts), default=0) + 1):
            names = ["/".join(part[-depth:]) for part in parts]
            if len(set(names)) == len(names):
                return [printable(name) for name in names]
    raise ValueError("a shard is named twice")


def _normal(path: FilePath) -> str:
    """Return a path in the one form in which equal paths are equal."""
    return str(path) if isinstance(path, UPath) else os.path.abspath(path)


def _parts(spec: str) -> list[str]:
    return [spec] if not is_url(spec) and os.path.exists(spec) else spec.split("::")


def _expand_part(part: str) -> list[FilePath]:
    if part.startswith("pipe:"):
        raise usage(
            "only files are read here",
            where=part,
            why="a 'pipe:' name would run a command",
            fix="download or mount the shards first",
        )
    whole = file_path(part)
    if not is_url(part) and whole.is_file():  # whatever signs are in its name
        return [whole]
    if not part.endswith(".tar") and whole.is_dir():
        return tars_in(whole)
    if not part.endswith(".tar") and not set(part) & set("{*?[") and not whole.is_file():
        raise usage("no such file or folder", where=part, fix="check the path")
    folder, pattern = _literal_folder(part)
    try:
        names = list(braceexpand(pattern))
    except ValueError:
        raise usage(
            "the braces do not close",
            where=part,
            fix="quote a range whole, such as 'data/{00000..00331}.tar'",
        ) from None
    return [path for name in names for path in _matching(folder, name)]


def _literal_folder(part: str) -> tuple[str, str]:
    """Split a path after its last folder that exists as it is written; the rest is a pattern.

    Brackets and braces in the names of folders are thereby no pattern.
    """
    if is_url(part):
        return "", part
    ends = [match.end() for match in re.finditer("/", part)]
    end = max((end for end in ends if os.path.isdir(part[:end])), default=0)
    return part[:end], part[end:]


def _matching(folder: str, name: str) -> list[FilePath]:
    """Return the files that a name in a folder stands for: itself, or those that a glob finds."""
    if is_url(name):
        parent, _, pattern = name.rpartition("/")
        return (
            sorted(file_path(parent).glob(pattern)) if glob.has_magic(name) else [file_path(name)]
        )
    whole = Path(folder + name)
    if whole.exists() or not glob.has_magic(name):
        return [whole]
    return [Path(path) for path in sorted(glob.glob(glob.escape(folder) + name))]


@dataclass(frozen=True)
class Fields:
    """Suffixes and keys by which a sample's image, caption and group are found.

    Attributes:
        group: Key of a sample's JSON.
        image: Suffix of a member, such as ``input.jpg``, which comes before the usual ones.
        caption: Suffix of a member, or key of a sample's JSON, which comes before ``.txt``.
    """

    group: str = "group"
    image: str = ""
    caption: str = ""


USUAL = Fields()


@dataclass(frozen=True)
class ShardIndex:
    """The samples of one tar, in the order of their first members. A missing text is empty.

    Attributes:
        keys: (n,) texts.
        captions: (n,) texts.
        groups: (n,) texts, the json's value of ``fields.group``, or webdataset's ``.cls``.
        urls: (n,) texts.
        hashes: (n,) texts, img2dataset's sha256 of the image as downloaded.
        suffixes: (s,) texts, the suffixes of all members.
        image_offset: (n,) int64, first byte of the image in the tar.
        image_size: (n,) int64, bytes of the image; -1 for a sample without one.
        has_caption: (n,) bool, whether a member or the JSON has a caption.
        fields: Where images, captions and groups were looked for.
    """

    keys: PackedStrings
    captions: PackedStrings
    groups: PackedStrings
    urls: PackedStrings
    hashes: PackedStrings
    suffixes: PackedStrings
    image_offset: np.ndarray
    image_size: np.ndarray
    has_caption: np.ndarray
    fields: Fields = USUAL

    @classmethod
    def open(cls, path: FilePath, fields: Fields = USUAL) -> ShardIndex:
        """Read the index of a tar, or build it and write it where that is possible.

        Args:
            path: The tar.
            fields: Where images, captions and groups are.

        Raises:
            UserError: exit 3 when the tar is cut short or not a tar.
        """
        if isinstance(path, UPath):
            check_ranges(path)
        stamp = np.array([INDEX_VERSION, *state_of(path)], dtype=np.int64)
        sidecar = beside(path, ".index.npz")
        index = cls._read_sidecar(sidecar, stamp)
        if index is None or index.fields != fields:
            index = build_index(path, fields)
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
                stored: dict[str, Any] = {name: arrays[name] for name in _ARRAYS}
                for name in _TEXTS:
                    stored[name] = PackedStrings(arrays[f"{name}_data"], arrays[f"{name}_offsets"])
                return cls(**stored, fields=Fields(*arrays["fields"].tolist()))
        except Exception:  # zip, zlib and NumPy have a dozen; a damaged index is built again
            return None

    def _write_sidecar(self, sidecar: Path, stamp: np.ndarray) -> None:
        arrays = {"stamp": stamp, "fields": np.array(astuple(self.fields))}
        for name in _TEXTS:
            texts: PackedStrings = getattr(self, name)
            arrays |= {f"{name}_data": texts.data, f"{name}_offsets": texts.offsets}
        arrays |= {name: getattr(self, name) for name in _ARRAYS}
        with atomic_open(sidecar) as file:
            np.savez(file, allow_pickle=False, **arrays)


def open_indexes(paths: Sequence[FilePath], fields: Fields = USUAL) -> list[ShardIndex]:
    """Return the indexes of some tars, as ``ShardIndex.open`` does."""
    return _each(functools.partial(ShardIndex.open, fields=fields), paths)


def _each(function: Callable[[FilePath], T], paths: Sequence[FilePath]) -> list[T]:
    """Return a function's results for some files; those behind URLs wait for servers together.

    The first goes ahead: a server that cannot be used is asked for one file.
    """
    if not any(isinstance(path, UPath) for path in paths):
        return list(map(function, paths))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [function(paths[0]), *pool.map(function, paths[1:])]


_TEXTS = ("keys", "captions", "groups", "urls", "hashes", "suffixes")
_ARRAYS = ("image_offset", "image_size", "has_caption")


def build_index(path: FilePath, fields: Fields = USUAL) -> ShardIndex:
    """Build the index of a tar by one pass over its headers and its small text members."""
    samples: dict[str, Members] = {}
    suffixes: dict[str, None] = {}
    tar_of_key: dict[str, int] = {}
    repeated = 0
    try:
        with open_in_order(path) as file:
            for number, member in _members(path, file):
                key, suffix = split_member(member.name)
                if not suffix or not member.isreg() or member.issparse():
                    continue
                if tar_of_key.setdefault(key, number) != number:
                    key = f"{key}~{number}"  # joined tars may count from 0 each
                suffixes[suffix] = None
                members = samples.setdefault(key, {})
                repeated += suffix in members  # the first of a name wins
                members.setdefault(suffix, (member.offset_data, member.size))
            if repeated:
                LOG.warning(f"{path}: {repeated} members have the name of an earlier one.")
            return _index_from_members(file, samples, list(suffixes), fields)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise bad_input(
            f"the shard cannot be opened: {error.strerror}",
            where=str(path),
            fix="check the path and who may read it",
        ) from None
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        raise bad_input(
            f"not a readable tar: {error}", where=str(path), fix="download this shard again"
        ) from None


def _members(path: FilePath, file: IO[bytes]) -> Iterator[tuple[int, tarfile.TarInfo]]:
    """Yield the members of a file of tars, joined as ``cat`` joins them, and each tar's number."""
    start: int | None = 0
    number = 0
    while start is not None:
        file.seek(start)
        number, end = number + 1, start
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                end = member.offset_data + member.size
                yield number, member
        if start and end == start:
            raise bad_input(
                "something that is no tar follows the end of the shard",
                where=f"{path}, byte {start}",
                why="samples could be lost silently",
                fix="download this shard again",
            )
        _check_complete(path, file, end)
        start = _next_tar(file, end)


def _check_complete(path: FilePath, file: IO[bytes], end: int) -> None:
    """Refuse a tar without zero blocks after its last member; ``tarfile`` accepts it silently."""
    size = file.seek(0, os.SEEK_END)
    padded = _to_block(end)
    file.seek(min(padded, size))
    closing = file.read(2 * tarfile.BLOCKSIZE)
    if size < padded + tarfile.BLOCKSIZE or closing[: tarfile.BLOCKSIZE].strip(b"\0"):
        raise bad_input(
            "the shard is cut short",
            where=f"{path}, after byte {min(size, end)}",
            why="samples would be lost silently",
            fix="download this shard again",
        )


def _next_tar(file: IO[bytes], end: int) -> int | None:
    """Return where the next tar in a file starts: at the first block that is not zeros."""
    position = file.seek(_to_block(end))
    while block := file.read(1 << 20):
        rest = block.lstrip(b"\0")
        if rest:
            return (position + len(block) - len(rest)) // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE
        position += len(block)
    return None


def _to_block(end: int) -> int:
    return -(-end // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _index_from_members(
    file: IO[bytes], samples: dict[str, Members], suffixes: list[str], fields: Fields
) -> ShardIndex:
    count = len(samples)
    image_offset, image_size = np.zeros(count, np.int64), np.full(count, -1, np.int64)
    has_caption = np.zeros(count, bool)
    captions, groups, urls, hashes = [], [], [], []
    for i, members in enumerate(samples.values()):
        for suffix in (fields.image.lower().lstrip("."), *IMAGE_EXTENSIONS):
            if suffix in members:
                image_offset[i], image_size[i] = members[suffix]
                break
        meta = _read_json(file, members.get("json"))
        caption = _read_caption(file, members, meta, fields.caption)
        has_caption[i] = caption is not None
        captions.append(caption or "")
        label = _read_text(file, members.get(LABEL_EXTENSION))
        groups.append(_text(meta.get(fields.group)) or label or "")
        urls.append(_text(meta.get("url")))
        hashes.append(_text(meta.get("sha256")))
    return ShardIndex(
        keys=PackedStrings.pack(samples),
        captions=PackedStrings.pack(captions),
        groups=PackedStrings.pack(groups),
        urls=PackedStrings.pack(urls),
        hashes=PackedStrings.pack(hashes),
        suffixes=PackedStrings.pack(suffixes),
        image_offset=image_offset,
        image_size=image_size,
        has_caption=has_caption,
        fields=fields,
    )


def _read_caption(file: IO[bytes], members: Members, meta: dict[str, Any], name: str) -> str | None:
    """Return a sample's caption: the member or value of the JSON of a name, else its ``.txt``."""
    suffix = name.lower().lstrip(".")
    if suffix and suffix in members:
        return _read_text(file, members[suffix])
    if name and isinstance(meta.get(name), str):
        return readable(str(meta[name])).strip()
    return _read_text(file, members.get(TEXT_EXTENSION))


def _text(value: object) -> str:
    return "" if value is None else readable(str(value))


def _read_text(file: IO[bytes], member: tuple[int, int] | None) -> str | None:
    """Return the text of a member; ``None`` where it is absent, over 64 KiB, or not UTF-8."""
    if member is None or member[1] > MAX_CAPTION_BYTES:
        return None
    file.seek(member[0])
    try:
        return file.read(member[1]).decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return None


def _read_json(file: IO[bytes], member: tuple[int, int] | None) -> dict[str, Any]:
    if member is None or member[1] > MAX_JSON_BYTES:
        return {}
    file.seek(member[0])
    try:
        value = parse_json(file.read(member[1]))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
