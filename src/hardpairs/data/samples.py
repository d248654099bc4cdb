"""Data sets as rows by number, whatever holds them.

Row numbers count every row of the source in order, rejected ones included, so that all stages mean
the same pair by the same number. ``open_samples`` is the place to start reading.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np

from hardpairs.core.errors import bad_input, usage
from hardpairs.core.remote import FilePath, file_path, is_url
from hardpairs.data.caption_lists import (
    list_in,
    no_captions,
    read_captions_json,
    read_json_lines,
    read_list,
)
from hardpairs.data.clip_benchmark import clip_benchmark_shards
from hardpairs.data.image_files import ImageFiles, found_beside
from hardpairs.data.image_folder import captions_beside, image_paths, is_image_folder
from hardpairs.data.karpathy import KarpathyRows, is_karpathy, karpathy_root, read_karpathy
from hardpairs.data.manifest import dataset_fingerprint, stable_ids
from hardpairs.data.shards import ShardIndex, expand_shards
from hardpairs.data.strings import PackedStrings
from hardpairs.data.tables import is_table, read_table

FOLDER = "folder"
"""The ``group_key`` of a folder of images whose folders are classes."""


class Samples:
    """Rows of a data set by number. Made by ``open_samples``.

    Attributes:
        source: What was opened.
        keys: (N,) texts, each row's identity within its shard.
        captions: (N,) texts.
        urls: (N,) texts; empty where the data does not say the URL.
        shards: (N,) texts, name of each row's shard; empty without shards.
        images: (N,) int64; rows with equal id have the same image, by img2dataset's hash, else by
            file or member.
        groups: (N,) int64; rows with equal id show the same thing: the ``group`` column, or for a
            row without one the same image.
        labelled: (N,) bool, rows whose group the data says.
        rejected: Reason by row number, of rows that no stage may use: ``empty_caption``,
            ``missing_image`` and others.
        image_ids: (N,) texts, the ids by which other files name the rows' images; ``None`` where
            the data does not say them.
        caption_ids: (N,) texts, the same of the captions.
    """

    def __init__(
        self,
        source: str,
        *,
        keys: PackedStrings,
        captions: PackedStrings,
        shards: PackedStrings | None = None,
        urls: PackedStrings | None = None,
        groups: Iterable[str] | None,
        image_names: Iterable[str],
        files: ImageFiles,
        missing: Iterable[bool],
        image_ids: Iterable[str] | None = None,
        caption_ids: Iterable[str] | None = None,
    ) -> None:
        self.source, self.keys, self.captions, self._files = source, keys, captions, files
        empty = PackedStrings.pack("" for _ in range(len(keys)))
        self.shards, self.urls = shards or empty, urls or empty
        self.image_ids = None if image_ids is None else PackedStrings.pack(image_ids)
        self.caption_ids = None if caption_ids is None else PackedStrings.pack(caption_ids)
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
        """Return the caption of row i."""
        return self.captions[i]

    def group(self, i: int) -> int:
        """Return the group id of row i."""
        return int(self.groups[i])

    def image_bytes(self, i: int) -> bytes:
        """Return the encoded image of row i. Safe in many threads and in forked workers.

        Raises:
            OSError: The file is missing or cannot be read.
        """
        return self._files.read(i)

    def is_absent(self, i: int) -> bool:
        """Return whether the image of row i is a local file that is not there."""
        return self._files.is_absent(i)

    def image_path(self, i: int) -> str:
        """Return where the image of row i is, as a table can say it: a file, or ``TAR/KEY``."""
        return self._files.path_text(i, self.keys[i])

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the data set: sha256 of its ordered (shard, key, caption) list."""
        return dataset_fingerprint(zip(self.shards, self.keys, self.captions, strict=True))

    @cached_property
    def texts(self) -> np.ndarray:
        """(N,) int64 ids; rows with equal id have the same caption."""
        return stable_ids(self.captions)

    def is_right(self, text_row: int, image_row: int) -> bool:
        """Return whether the caption of one row is right for the image of another.

        It is when a row of the image's group has that caption.
        """
        same_text = self.texts == self.texts[text_row]
        return bool((self.groups[same_text] == self.groups[image_row]).any())

    @cached_property
    def positives(self) -> np.ndarray:
        """(N, 2 or 3) int64 ids of group, image (where groups are given) and caption.

        Two rows are known positives when they share an id of any column. This is not transitive.
        """
        columns = [self.groups, self.texts]
        if not np.array_equal(self.groups, self.images):
            columns.insert(1, self.images)
        return np.stack(columns, axis=1)


def open_samples(
    source: str | os.PathLike[str] | list[str],
    *,
    separator: str | None = None,
    image_key: str = "filepath",
    caption_key: str = "title",
    group_key: str = "group",
    unlabelled: Iterable[str] = (),
    image_root: str | os.PathLike[str] | None = None,
    caption_template: str | None = None,
    split: str | None = None,
) -> Samples:
    """Open a data set by what its name says.

    The formats are a ``.csv``, ``.tsv`` or ``.txt`` table, MiniCLIP's captions ``.json``,
    Karpathy's ``dataset_*.json``, a ``.jsonl`` of images and captions, a folder of images (in class
    folders or not, or with Flickr8k's ``captions.txt``), CLIP_benchmark's folder of shards, and
    webdataset shards for everything else.

    Args:
        source: A table, a captions.json, a folder, or shards as in ``expand_shards``; local, or
            behind a URL that fsspec knows. Relative paths in a table are those of the working
            folder or, if the first image is not there, of the table's own folder.
        separator: The separator of a table; ``None`` finds it from the header line.
        image_key: Column of a table that names the images.
        caption_key: Column of a table that holds the captions.
        group_key: Column of a table, or key of the samples' json in shards; the default one may be
            absent. ``folder`` says that the folders of a folder of images are classes, even of
            images with captions.
        unlabelled: Values of the group that mean none, as a blank one does. CLIPPINGS has 999;
            999.0, as pandas may write it, is the same.
        image_root: Folder of the images of a table, a captions.json or a .jsonl. By default that of
            a captions.json is ``images`` beside it or its own folder, that of a .jsonl its own.
        caption_template: Caption of an image of a folder that has none beside it, with ``{}`` for
            the name of its class folder (or of the image); ``None``: the name alone.
        split: The part of a Karpathy file: ``train`` (with ``restval``), ``val`` or ``test``.

    Raises:
        UserError: exit 2 for a path that does not exist, exit 3 for bad content.
    """
    name, unlabelled = str(source), frozenset(unlabelled)
    _check_template(caption_template, isinstance(source, str | os.PathLike), name)
    if split is not None and not name.lower().endswith(".json"):
        raise usage("`split` is for Karpathy's dataset_*.json", where=name, fix="leave it out")
    if isinstance(source, list):
        return _from_shards(source, group_key, unlabelled)
    if not is_url(name) and (listed := list_in(Path(name))):
        return _from_captions(name, *read_list(listed[0]), _root(image_root, listed[1]))
    if is_image_folder(name):
        return _from_image_folder(
            Path(name), unlabelled, caption_template or "{}", classed=group_key == FOLDER
        )
    if is_table(name) or name.lower().endswith((".json", ".jsonl")):
        if not file_path(name).is_file():
            raise usage("no such file", where=name, fix="check the path")
        if is_table(name):
            return _from_table(
                name, separator, image_key, caption_key, group_key, unlabelled, image_root
            )
        if name.lower().endswith(".jsonl"):
            path = file_path(name)
            return _from_captions(name, *read_json_lines(path), _root(image_root, path.parent))
        return _from_json(file_path(name), image_root, split)
    if wds := clip_benchmark_shards(name):
        return _from_clip_benchmark(name, wds)
    if not name.lower().endswith(".tar") and not is_url(name) and Path(name).is_file():
        raise usage(
            "unknown kind of data",
            where=name,
            fix="a .csv, .tsv or .txt table, a captions .json, .tar shards, or a folder",
        )
    if Path(name).is_dir() and not any(Path(name).glob("*.tar")):
        raise usage(
            "the folder holds neither images nor .tar shards",
            where=name,
            fix="check the path: images in it or in folders below it, or shards in it",
        )
    return _from_shards(source, group_key, unlabelled)


def _has_list(name: str) -> bool:
    return not is_url(name) and list_in(Path(name)) is not None


def _check_template(template: str | None, is_path: bool, name: str) -> None:
    if template is None:
        return
    if template.count("{}") != 1 or set(template.replace("{}", "")) & set("{}"):
        raise usage(
            f"`caption_template` needs one {{}} for the class, not {template!r}",
            fix="such as 'a photo of class number {}'",
        )
    if not is_path or (os.path.exists(name) and not is_image_folder(name)) or _has_list(name):
        raise usage(
            "`caption_template` is for folders of images, and this data has captions",
            where=name,
            fix="leave it out",
        )


def _label(value: str, unlabelled: frozenset[str]) -> str:
    value = value.strip()
    return "" if value in unlabelled or value.removesuffix(".0") in unlabelled else value


def _from_shards(
    source: str | os.PathLike[str] | list[str], group_key: str, unlabelled: frozenset[str]
) -> Samples:
    paths = expand_shards(source)
    indexes = [ShardIndex.open(path, group_key) for path in paths]
    counts = [len(index) for index in indexes]
    shards = PackedStrings.pack(
        path.stem for path, count in zip(paths, counts, strict=True) for _ in range(count)
    )
    keys = PackedStrings.concatenate([index.keys for index in indexes])
    if not len(keys):
        raise bad_input("the shards hold no sample", where=str(source))
    groups = [_label(group, unlabelled) for index in indexes for group in index.groups]
    if group_key != "group" and not any(groups):
        raise bad_input(
            f"no sample's json has {group_key!r}",
            where=str(source),
            fix="name the key of the labels: `group_key`",
        )
    size = np.concatenate([index.image_size for index in indexes])
    files = ImageFiles(
        [str(path) for path in paths],
        np.repeat(np.arange(len(paths), dtype=np.int32), counts),
        np.concatenate([index.image_offset for index in indexes]),
        size,
    )
    hashes = [digest for index in indexes for digest in index.hashes]
    return Samples(
        str(source),
        keys=keys,
        captions=PackedStrings.concatenate([index.captions for index in indexes]),
        shards=shards,
        urls=PackedStrings.concatenate([index.urls for index in indexes]),
        groups=groups,
        image_names=_image_names(keys, shards, keys, hashes),
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
    image_root: str | os.PathLike[str] | None,
) -> Samples:
    named = () if group_key == "group" else (group_key,)  # the default name may be absent
    columns = read_table(
        name,
        separator,
        required=(image_key, caption_key, *named),
        parameters={image_key: "image_key", caption_key: "caption_key", group_key: "group_key"},
    )
    images = columns[image_key]
    if not images:
        raise bad_input("the table has a header and no rows", where=name)
    blank = [""] * len(images)
    shards, keys = columns.get("shard", blank), columns.get("key", images)
    return Samples(
        name,
        keys=PackedStrings.pack(keys),
        captions=PackedStrings.pack(caption.strip() for caption in columns[caption_key]),
        shards=PackedStrings.pack(shards),
        urls=PackedStrings.pack(columns.get("url", blank)),
        groups=[_label(group, unlabelled) for group in columns.get(group_key, ())] or None,
        image_names=_image_names(images, shards, keys, columns.get("sha256", blank)),
        files=ImageFiles.of_names(
            _below(image_root, images) if image_root else found_beside(images, file_path(name))
        ),
        missing=[not image for image in images],
        image_ids=columns.get("image_id"),
        caption_ids=columns.get("caption_id"),
    )


def _image_names(
    images: Iterable[str], shards: Iterable[str], keys: Iterable[str], hashes: Iterable[str]
) -> list[str]:
    """Return what tells images apart: the hash, the sample of a shard, or the path.

    A table and the shards that it lists give the same names.
    """
    return [
        digest or (f"{shard}/{key}" if shard else image)
        for image, shard, key, digest in zip(images, shards, keys, hashes, strict=True)
    ]


def _from_image_folder(
    folder: Path, unlabelled: frozenset[str], template: str, *, classed: bool
) -> Samples:
    """Open a folder of images.

    An image with captions beside it has a row for each. Any other image is in a class and has one
    row: its group is the name of its class folder, and its caption is the template with that name,
    else its own, with spaces for underscores. With ``classed`` all images are in classes.
    """
    rows: list[tuple[str, str, str, str]] = []  # image, key, group, caption
    for path in image_paths(folder):
        inside, lines = path.relative_to(folder), captions_beside(path)
        group = inside.parts[0] if len(inside.parts) > 1 and (classed or not lines) else ""
        name = (group or path.stem).replace("_", " ")
        captions = lines or [template.replace("{}", name)]
        for i, caption in enumerate(captions):
            key = str(inside) if len(captions) == 1 else f"{inside}#{i}"
            rows.append((str(path), key, _label(group, unlabelled), caption))
    images, keys, groups, texts = (list(column) for column in zip(*rows, strict=True))
    return Samples(
        str(folder),
        keys=PackedStrings.pack(keys),
        captions=PackedStrings.pack(texts),
        groups=groups,
        image_names=images,
        files=ImageFiles.of_names(images),
        missing=[False] * len(rows),
    )


def _from_clip_benchmark(name: str, paths: list[Path]) -> Samples:
    """Open CLIP_benchmark's shards, a row for each line of an image's captions."""
    indexes = [ShardIndex.open(path) for path in paths]
    lines = [
        (shard, sample, f"{indexes[shard].keys[sample]}#{number}", caption.strip())
        for shard, index in enumerate(indexes)
        for sample, text in enumerate(index.captions)
        for number, caption in enumerate(text.splitlines() or [""])
    ]
    if not lines:
        raise bad_input("the shards hold no sample", where=name)
    shard_of, sample_of, keys, captions = map(list, zip(*lines, strict=True))
    found = [(indexes[shard], sample) for shard, sample in zip(shard_of, sample_of, strict=True)]
    shards = [paths[shard].stem for shard in shard_of]
    size = np.array([index.image_size[sample] for index, sample in found], np.int64)
    files = ImageFiles(
        [str(path) for path in paths],
        np.array(shard_of, np.int32),
        np.array([index.image_offset[sample] for index, sample in found], np.int64),
        size,
    )
    return Samples(
        name,
        keys=PackedStrings.pack(keys),
        captions=PackedStrings.pack(captions),
        shards=PackedStrings.pack(shards),
        groups=[index.groups[sample] for index, sample in found],
        image_names=[
            f"{shard}/{index.keys[sample]}"
            for shard, (index, sample) in zip(shards, found, strict=True)
        ],
        files=files,
        missing=size < 0,
    )


def _from_json(
    path: FilePath, image_root: str | os.PathLike[str] | None, split: str | None
) -> Samples:
    """Open a Karpathy file, or MiniCLIP's captions."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise no_captions(path, f"not JSON: {error}") from None
    if is_karpathy(content):
        rows = read_karpathy(content, split, str(path))
        root = _root(image_root, karpathy_root(rows.images[0], path.parent))
        return _from_captions(str(path), rows.images, rows.captions, root, rows)
    if split is not None:
        raise usage("`split` is for Karpathy's dataset_*.json", where=str(path), fix="leave it out")
    root = _root(image_root, path.parent / "images")
    names, captions = read_captions_json(path, content)
    return _from_captions(str(path), names, captions, root if root.is_dir() else path.parent)


def _root(image_root: str | os.PathLike[str] | None, otherwise: FilePath) -> FilePath:
    """Return the folder of the images that is given, else another one."""
    if not image_root:
        return otherwise
    root = file_path(image_root)
    if not root.is_dir():
        raise usage("no such `image_root`", where=str(image_root), fix="check the path")
    return root


def _below(image_root: str | os.PathLike[str], names: Iterable[str]) -> list[str]:
    """Return the paths of a table's images below a folder; absolute ones and URLs stay."""
    root = _root(image_root, Path())
    return [name if is_url(name) else str(root / name) if name else "" for name in names]


def _from_captions(
    source: str,
    names: list[str],
    captions: list[str],
    root: FilePath,
    ids: KarpathyRows | None = None,
) -> Samples:
    """Open images with a caption each; a row's key is the image's name and the row's number."""
    missing: set[str] = set()
    if not is_url(str(root)):
        missing = {n for n in set(names) if ".tar/" not in n and not (root / n).is_file()}
    return Samples(
        source,
        keys=PackedStrings.pack(f"{name}#{i}" for i, name in enumerate(names)),
        captions=PackedStrings.pack(captions),
        groups=None,
        image_names=names,
        files=ImageFiles.of_names([str(root / name) for name in names]),
        missing=[name in missing for name in names],
        image_ids=ids.image_ids if ids else None,
        caption_ids=ids.caption_ids if ids else None,
    )
