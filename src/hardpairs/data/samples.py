"""One view of samples by row number, whatever holds them: OpenCLIP CSV or TSV, img2dataset shards, MiniCLIP's captions.json.

Row numbers count every source row in order, rejected ones included, so that all stages mean the same pair by the same number.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from hardpairs.core.errors import bad_input, usage
from hardpairs.core.remote import FilePath, file_path, is_url, read_range
from hardpairs.data.manifest import dataset_fingerprint, stable_ids
from hardpairs.data.shards import IMAGE_EXTENSIONS, MAX_CAPTION_BYTES, ShardIndex, expand_shards
from hardpairs.data.strings import PackedStrings

SEPARATORS = {"\t": "tab", ",": ",", ";": ";", "|": "|"}
MAX_OPEN_TARS = 256
FOLDER = "folder"


class Samples:
    """Rows of a dataset by number. Made by ``open_samples``.

    Attributes:
        keys, captions, urls: texts by row; shape (N,). A URL is empty where the data does not say it.
        shards: name of each row's shard ("" without shards).
        images: int64, shape (N,): rows with equal id have the same image (img2dataset's hash; without one, the same file or member).
        groups: int64, shape (N,): rows with equal group show the same thing (the ``group`` column; a row without one: the same image).
        labelled: bool, shape (N,): rows whose group the data says.
        rejected: reason by row number, of rows that no stage may use (``empty_caption``, ``missing_image``...).
    """

    def __init__(
        self,
        source: str,
        *,
        keys: PackedStrings,
        captions: PackedStrings,
        shards: PackedStrings,
        urls: PackedStrings,
        groups: Iterable[str] | None,
        image_names: Iterable[str],
        files: _Files,
        missing: Iterable[bool],
    ) -> None:
        self.source = source
        self.keys, self.captions, self.shards, self.urls = keys, captions, shards, urls
        self._files = files
        names = list(image_names)
        given = [""] * len(names) if groups is None else list(groups)
        self.images = stable_ids(names)
        self.labelled = np.array([bool(group) for group in given], bool)
        self.groups = (
            stable_ids(group or name for group, name in zip(given, names, strict=True))
            if any(given)
            else self.images
        )
        reasons = (
            ("empty_caption" if not caption else "missing_image" if gone else "")
            for caption, gone in zip(captions, missing, strict=True)
        )
        self.rejected = {row: reason for row, reason in enumerate(reasons) if reason}

    def __len__(self) -> int:
        return len(self.keys)

    def caption(self, i: int) -> str:
        return self.captions[i]

    def group(self, i: int) -> int:
        return int(self.groups[i])

    def image_bytes(self, i: int) -> bytes:
        """The encoded image of row i. Safe in many threads and forked workers.

        Raises:
            OSError: the file is missing or unreadable.
        """
        return self._files.read(i)

    def image_place(self, i: int) -> str:
        """Where the image of row i lies, as a table can say it: a file, or ``TAR/KEY``."""
        return self._files.place(i, self.keys[i])

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the dataset: sha256 of its ordered (shard, key, caption) list."""
        return dataset_fingerprint(zip(self.shards, self.keys, self.captions, strict=True))

    @cached_property
    def texts(self) -> np.ndarray:
        """Shape (N,), int64: rows with equal id have the same caption."""
        return stable_ids(self.captions)

    @cached_property
    def positives(self) -> np.ndarray:
        """Shape (N, 2 or 3), int64: group, image (where groups are given) and caption ids. Two rows are known positives when any is equal
        (not transitive)."""
        columns = [self.groups, self.texts]
        if not np.array_equal(self.groups, self.images):
            columns.insert(1, self.images)
        return np.stack(columns, axis=1)


class _Files:
    """Where image bytes come from: per row a file path, or a tar with offset and size."""

    def __init__(
        self, paths: list[str], path_of_row: np.ndarray, offset: np.ndarray, size: np.ndarray
    ) -> None:
        self.paths, self.path_of_row, self.offset, self.size = paths, path_of_row, offset, size
        self._open: dict[tuple[int, int], int] = {}

    def read(self, i: int) -> bytes:
        path, offset, size = self.paths[self.path_of_row[i]], int(self.offset[i]), int(self.size[i])
        if offset < 0:
            return read_range(path) if is_url(path) else Path(path).read_bytes()
        data = (
            read_range(path, offset, size)
            if is_url(path)
            else os.pread(self._handle(int(self.path_of_row[i])), size, offset)
        )
        if len(data) != size:
            raise OSError(f"{path} ends before byte {offset + size}")
        return data

    def place(self, i: int, key: str) -> str:
        path = self.paths[self.path_of_row[i]]
        return path if self.offset[i] < 0 else f"{path}/{key}"

    def _handle(self, path: int) -> int:
        key = (os.getpid(), path)  # a forked worker opens its own
        if key not in self._open:
            if len(self._open) >= MAX_OPEN_TARS:
                oldest = next(iter(self._open))
                handle = self._open.pop(oldest)
                if oldest[0] == os.getpid():
                    os.close(handle)
            self._open[key] = os.open(self.paths[path], os.O_RDONLY)
        return self._open[key]

    def __getstate__(self):  # spawned workers get no file handles
        return {**self.__dict__, "_open": {}}


def open_samples(
    source: str | os.PathLike[str] | list[str],
    *,
    separator: str | None = None,
    image_key: str = "filepath",
    caption_key: str = "title",
    group_key: str = "group",
    unlabelled: Iterable[str] = (),
    image_root: str | os.PathLike[str] | None = None,
) -> Samples:
    """Opens a dataset by what its name says: ``.csv``/``.tsv``/``.txt`` table, ``.json`` captions, a folder of pictures (in class
    folders or not), else webdataset shards.

    Args:
        source: table, captions.json, or shards as in ``expand_shards``; local, or behind a URL that fsspec knows.
        separator: of a table; ``None`` finds it from the header line.
        image_key, caption_key: column names of a table.
        group_key: column of a table, or key of the samples' json in shards; the default one may be absent. Of a folder of pictures ``folder``
            says that its folders are classes, even of pictures with captions.
        unlabelled: values of the group that say there is none (CLIPPINGS has 999; 999.0, as pandas may write it, is the same), as a blank one does.
        image_root: folder of a captions.json's images (default: ``images`` beside it, or its own folder).

    Raises:
        UserError: exit 2 for a path that is not there, exit 3 for bad content.
    """
    name, unlabelled = str(source), frozenset(unlabelled)
    if not isinstance(source, list) and is_image_folder(name):
        return _from_image_folder(Path(name), unlabelled, classed=group_key == FOLDER)
    if isinstance(source, list) or not name.lower().endswith((".csv", ".tsv", ".txt", ".json")):
        if (
            not isinstance(source, list)
            and not name.lower().endswith(".tar")
            and not is_url(name)
            and Path(name).is_file()
        ):
            raise usage(
                "no kind of data that is known",
                where=name,
                fix="a .csv, .tsv or .txt table, a captions .json, .tar shards, or a folder",
            )
        return _from_shards(source, group_key, unlabelled)
    if not file_path(name).is_file():
        raise usage("no such file", where=name, fix="check the path")
    if name.lower().endswith(".json"):
        return _from_captions_json(file_path(name), image_root)
    return _from_table(name, separator, image_key, caption_key, group_key, unlabelled)


def _label(value: str, unlabelled: frozenset[str]) -> str:
    value = value.strip()
    return "" if value in unlabelled or value.removesuffix(".0") in unlabelled else value


def _from_shards(
    source: str | os.PathLike[str] | list[str], group_key: str, unlabelled: frozenset[str]
) -> Samples:
    paths = expand_shards(source)
    indexes = [ShardIndex.open(path, group_key) for path in paths]
    counts = [len(index) for index in indexes]
    names = PackedStrings.pack(
        path.stem for path, count in zip(paths, counts, strict=True) for _ in range(count)
    )
    keys = PackedStrings.concatenate([index.keys for index in indexes])
    size = np.concatenate([index.image_size for index in indexes])
    files = _Files(
        [str(path) for path in paths],
        np.repeat(np.arange(len(paths), dtype=np.int32), counts),
        np.concatenate([index.image_offset for index in indexes]),
        size,
    )
    hashes = [digest for index in indexes for digest in index.hashes]
    image_names = _image_names(keys, names, keys, hashes)
    captions = PackedStrings.concatenate([index.captions for index in indexes])
    if not len(keys):
        raise bad_input("the shards hold no sample", where=str(source))
    groups = [_label(group, unlabelled) for index in indexes for group in index.groups]
    if group_key != "group" and not any(groups):
        raise bad_input(
            f"no sample's json has {group_key!r}",
            where=str(source),
            fix="name the key of the labels with --csv-label-key",
        )
    return Samples(
        str(source),
        keys=keys,
        captions=captions,
        shards=names,
        urls=PackedStrings.concatenate([index.urls for index in indexes]),
        groups=groups,
        image_names=image_names,
        files=files,
        missing=size < 0,
    )


def _from_table(
    name: str,
    separator: str | None,
    image_key: str,
    caption_key: str,
    group_key: str,
    unlabelled: frozenset[str],
) -> Samples:
    asked_for = () if group_key == "group" else (group_key,)  # the default name may be absent
    columns = read_table(name, separator, required=(image_key, caption_key, *asked_for))
    images = columns[image_key]
    if not images:
        raise bad_input("the table has a header and no rows", where=name)
    shards = columns.get("shard", [""] * len(images))
    keys = columns.get("key", images)
    return Samples(
        name,
        keys=PackedStrings.pack(keys),
        captions=PackedStrings.pack(caption.strip() for caption in columns[caption_key]),
        shards=PackedStrings.pack(shards),
        urls=PackedStrings.pack(columns.get("url", [""] * len(images))),
        groups=[_label(group, unlabelled) for group in columns.get(group_key, ())] or None,
        image_names=_image_names(images, shards, keys, columns.get("sha256", [""] * len(images))),
        files=_table_images(images),
        missing=[not image for image in images],
    )


def _image_names(
    images: Iterable[str], shards: Iterable[str], keys: Iterable[str], hashes: Iterable[str]
) -> list[str]:
    """What tells images apart: the hash, the sample of a shard, the path; the same from a table as from the shards it lists."""
    return [
        digest or (f"{shard}/{key}" if shard else image)
        for image, shard, key, digest in zip(images, shards, keys, hashes, strict=True)
    ]


def read_table(
    name: str, separator: str | None, *, required: tuple[str, ...]
) -> dict[str, list[str]]:
    """Columns of a CSV or TSV as plain text: no value is turned into a number or NaN.

    Raises:
        UserError: exit 3, naming the columns found and the separator to give, or the first bad line.
    """
    if separator is not None and len(separator) != 1:
        raise usage(f"a separator is one character, not {separator!r}", fix="--csv-separator ,")
    csv.field_size_limit(1 << 24)
    try:
        with file_path(name).open(encoding="utf-8-sig", newline="") as file:
            header_line = file.readline()
            separator = separator or _sniff(header_line, required)
            file.seek(0)
            rows = _rows(name, file, separator)
            header = next(rows, [])
            _check_header(name, header, header_line, separator, required)
            table = list(_check_rows(name, rows, len(header)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise bad_input(
            f"not a readable table: {error}", where=name, fix="save it as UTF-8 text"
        ) from None
    return {column: [row[i] for row in table] for i, column in enumerate(header)}


def _rows(name: str, file: Iterable[str], separator: str) -> Iterator[list[str]]:
    """Rows of a table. A row of several lines must be quoted as it should: a quote that does not close swallows the rows after it, up to the next one.
    (Within a line stray quotes are let pass; web captions have them.)"""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in file:
            taken.append(line)
            yield line

    first = 1
    for row in csv.reader(lines(), delimiter=separator):
        try:
            if len(taken) > 1:
                list(csv.reader(taken, delimiter=separator, strict=True))
        except csv.Error:
            where = f"{name}, line {first}"
            raise bad_input(
                "a quote is opened and not closed",
                where=where,
                fix="close it, or double a quote that is meant",
            ) from None
        first += len(taken)
        taken.clear()
        yield row


def _sniff(header_line: str, required: tuple[str, ...]) -> str:
    """The separator under which the header has the required columns; the most frequent one when none has, or none is required."""
    for candidate in SEPARATORS if required else ():
        if set(required) <= set(next(csv.reader([header_line], delimiter=candidate), [])):
            return candidate
    return max(SEPARATORS, key=header_line.count)


def _check_header(
    name: str, header: list[str], header_line: str, separator: str, required: tuple[str, ...]
) -> None:
    absent = [column for column in required if column not in header]
    if not absent:
        return
    better = _sniff(header_line, required)
    if set(required) <= set(next(csv.reader([header_line], delimiter=better), [])):
        fix = (
            f"--csv-separator {SEPARATORS[better]!r}"
            if better != "\t"
            else "--csv-separator $'\\t'"
        )
    else:
        fix = "name the columns with --csv-img-key and --csv-caption-key"
    raise bad_input(
        f"no column {' or '.join(map(repr, absent))}; columns found: {', '.join(map(repr, header)) or 'none'}",
        where=f"{name}, line 1",
        fix=fix,
    )


def _check_rows(name: str, rows: Iterable[list[str]], width: int) -> Iterable[list[str]]:
    for line, row in enumerate(rows, start=2):
        if not row:
            continue  # an empty line
        if len(row) != width:
            raise bad_input(
                f"{len(row)} values where the header has {width}",
                where=f"{name}, about line {line}",
                fix="quote values that hold the separator",
            )
        yield row


def _table_images(images: list[str]) -> _Files:
    """Image places of a table's paths; ``.../00000.tar/000000012.jpg`` is a member of a shard."""
    tars: dict[str, dict[str, tuple[int, int]]] = {}
    paths: dict[str, int] = {}
    path_of_row = np.empty(len(images), np.int32)
    offset, size = np.full(len(images), -1, np.int64), np.full(len(images), -1, np.int64)
    for row, image in enumerate(images):
        tar, separator, member = image.rpartition(".tar/")
        if separator and (is_url(tar) or os.path.isfile(tar + ".tar")):
            path = tar + ".tar"
            if path not in tars:
                index = ShardIndex.open(file_path(path))
                tars[path] = {
                    key: (o, s)
                    for key, o, s in zip(
                        index.keys, index.image_offset, index.image_size, strict=True
                    )
                    if s >= 0
                }
            offset[row], size[row] = tars[path].get(member.partition(".")[0], (0, -1))
        else:
            path = image
        path_of_row[row] = paths.setdefault(path, len(paths))
    return _Files(list(paths), path_of_row, offset, size)


def is_image_folder(name: str) -> bool:
    """Whether this is a folder of pictures, in class folders (torchvision's ImageFolder) or flat, and no folder of shards."""
    folder = Path(name)
    return (
        not is_url(name)
        and folder.is_dir()
        and not any(folder.glob("*.tar"))
        and next(_pictures(folder), None) is not None
    )


def _pictures(folder: Path) -> Iterator[Path]:
    """By name; through links to folders, as torchvision's ImageFolder goes; nothing whose own or whose folder's name starts with a dot."""
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


def _from_image_folder(folder: Path, unlabelled: frozenset[str], *, classed: bool) -> Samples:
    """A row for each line of the text file beside a picture (``a.jpg``, ``a.txt``). A picture without one is in a class: one row, whose group is the
    name of its class folder, and whose caption is that name, else its own, with spaces for underscores. ``classed``: all pictures are."""
    rows: list[tuple[Path, str, str, str]] = []  # picture, key, group, caption
    for path in _pictures(folder):
        inside, lines = path.relative_to(folder), _captions_beside(path)
        group = inside.parts[0] if len(inside.parts) > 1 and (classed or not lines) else ""
        captions = lines or [(group or path.stem).replace("_", " ")]
        keys = (
            [str(inside)] if len(captions) == 1 else [f"{inside}#{i}" for i in range(len(captions))]
        )
        rows += [
            (path, key, _label(group, unlabelled), caption)
            for key, caption in zip(keys, captions, strict=True)
        ]
    paths = [str(path) for path, *_ in rows]
    empty = PackedStrings.pack("" for _ in rows)
    return Samples(
        str(folder),
        keys=PackedStrings.pack(key for _, key, _, _ in rows),
        captions=PackedStrings.pack(caption for *_, caption in rows),
        shards=empty,
        urls=empty,
        groups=[group for _, _, group, _ in rows],
        image_names=paths,
        files=_table_images(paths),
        missing=[False] * len(rows),
    )


def _captions_beside(image: Path) -> list[str]:
    try:
        text = image.with_suffix(".txt").read_text(encoding="utf-8-sig")[:MAX_CAPTION_BYTES]
    except (OSError, UnicodeDecodeError):
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


def _from_captions_json(path: FilePath, image_root: str | os.PathLike[str] | None) -> Samples:
    """MiniCLIP's list of {"file_name", "caption"}: one row per caption, images shared by name."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        names = [str(entry["file_name"]) for entry in entries]
        captions = [str(entry["caption"] or "").strip() for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        why = (
            f"not JSON: {error}"
            if isinstance(error, ValueError)
            else "an entry lacks one of the two, or it is no list"
        )
        raise bad_input(
            "not captions as MiniCLIP has them",
            where=str(path),
            why=why,
            fix='[{"file_name": "a.jpg", "caption": "a red box"}, ...]',
        ) from None
    root = (
        file_path(image_root)
        if image_root
        else next(p for p in (path.parent / "images", path.parent) if p.is_dir())
    )
    if image_root and not root.is_dir():
        raise usage(
            "no such folder of images", where=str(image_root), fix="check the path of --image-root"
        )
    unsafe = [name for name in names if os.path.isabs(name) or ".." in Path(name).parts]
    if unsafe:
        raise bad_input("a file name leaves the image folder", where=f"{path}: {unsafe[0]}")
    empty = PackedStrings.pack("" for _ in names)
    keys = PackedStrings.pack(f"{name}#{i}" for i, name in enumerate(names))
    files = _table_images([str(root / name) for name in names])
    gone = (
        set()
        if is_url(str(root))
        else {name for name in set(names) if ".tar/" not in name and not (root / name).is_file()}
    )
    return Samples(
        str(path),
        keys=keys,
        captions=PackedStrings.pack(captions),
        shards=empty,
        urls=empty,
        groups=None,
        image_names=names,
        files=files,
        missing=[name in gone for name in names],
    )
