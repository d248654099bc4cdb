"""Data sets as rows by number, whatever holds them.

Row numbers count every row of the source in order, rejected ones included, so that all stages mean
the same pair by the same number. ``open_samples`` is the place to start reading.
"""

from __future__ import annotations

import copy
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from hardpairs.core.errors import UserError, bad_input, usage
from hardpairs.core.parse import parse_json
from hardpairs.core.remote import FilePath, check_allowed, file_path, is_file, is_url
from hardpairs.data.caption_lists import (
    list_in,
    no_captions,
    read_captions_json,
    read_json_lines,
    read_list,
)
from hardpairs.data.clip_benchmark import caption_lines, clip_benchmark_shards, holds_lines
from hardpairs.data.image_files import ImageFiles, found_beside
from hardpairs.data.image_folder import captions_beside, image_paths, is_image_folder
from hardpairs.data.karpathy import KarpathyRows, is_karpathy, karpathy_root, read_karpathy
from hardpairs.data.manifest import dataset_fingerprint, stable_ids
from hardpairs.data.members import TarPaths
from hardpairs.data.metadata_files import metadata_files, read_metadata
from hardpairs.data.shards import (
    IMAGE_EXTENSIONS,
    USUAL,
    Fields,
    ShardIndex,
    expand_shards,
    open_indexes,
    shard_names,
    tars_in,
)
from hardpairs.data.split_parts import part_of_folder
from hardpairs.data.strings import PackedStrings, printable, readable
from hardpairs.data.tables import is_table, read_table

EMPTY_CAPTION, MISSING_IMAGE = "empty_caption", "missing_image"
SHOWN = 20
"""Number of suffixes that a message names."""
LOG = logging.getLogger(__name__)

IMAGE_COLUMN, CAPTION_COLUMN = "filepath", "title"
"""OpenCLIP's names of the columns of a table."""
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
        suffixes: The suffixes of the members of shards; none without shards.
        files: The encoded images.
    """

    def __init__(
        self,
        source: str,
        *,
        keys: PackedStrings,
        captions: PackedStrings,
        shards: PackedStrings,
        urls: PackedStrings,
        images: np.ndarray,
        groups: np.ndarray,
        labelled: np.ndarray,
        rejected: Mapping[int, str],
        files: ImageFiles,
        image_ids: PackedStrings | None = None,
        caption_ids: PackedStrings | None = None,
        suffixes: Sequence[str] = (),
    ) -> None:
        self.source, self.keys, self.captions, self.files = source, keys, captions, files
        self.shards, self.urls, self.suffixes = shards, urls, tuple(suffixes)
        self.images, self.groups, self.labelled = images, groups, labelled
        self.rejected, self.image_ids, self.caption_ids = rejected, image_ids, caption_ids

    @classmethod
    def of_texts(
        cls,
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
        suffixes: Sequence[str] = (),
    ) -> Samples:
        """Return rows whose ids and reasons follow from texts.

        Args:
            source: What was opened.
            keys: As the attribute.
            captions: As the attribute.
            shards: As the attribute; ``None``: without shards.
            urls: As the attribute; ``None``: not known.
            groups: (N,) texts, empty for a row without one; ``None``: no row has one.
            image_names: (N,) texts, equal for rows with the same image.
            files: The images.
            missing: (N,) whether a row's image is not there.
            image_ids: As the attribute.
            caption_ids: As the attribute.
            suffixes: As the attribute.
        """
        empty = PackedStrings.pack("" for _ in range(len(keys)))
        names = list(image_names)
        given = [""] * len(names) if groups is None else list(groups)
        images = stable_ids(names)
        reasons = (
            (EMPTY_CAPTION if not caption else MISSING_IMAGE if gone else "")
            for caption, gone in zip(captions, missing, strict=True)
        )
        return cls(
            source,
            keys=keys,
            captions=captions,
            shards=shards or empty,
            urls=urls or empty,
            images=images,
            groups=stable_ids(group or name for group, name in zip(given, names, strict=True))
            if any(given)
            else images,
            labelled=np.array([bool(group) for group in given], bool),
            rejected={row: reason for row, reason in enumerate(reasons) if reason},
            files=files,
            image_ids=None if image_ids is None else PackedStrings.pack(image_ids),
            caption_ids=None if caption_ids is None else PackedStrings.pack(caption_ids),
            suffixes=suffixes,
        )

    def __len__(self) -> int:
        return len(self.keys)

    def by_image(self) -> Samples:
        """Return the same rows for work that uses no caption: those without one are usable, too."""
        rows = copy.copy(self)
        rows.rejected = {
            row: reason for row, reason in self.rejected.items() if reason != EMPTY_CAPTION
        }
        return rows

    def check_usable(self) -> None:
        """Refuse data without a usable row (exit 3), with what there is instead."""
        if len(self.rejected) == len(self):
            raise nothing_usable(Counter(self.rejected.values()), self.suffixes, self.source)

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
        return self.files.read(i)

    def read_ahead(self, rows: Iterable[int]) -> None:
        """Begin to read the images of some rows, in order, where they are in tars behind URLs.

        Images that were begun before and are not among them are forgotten.
        """
        self.files.read_ahead(rows)

    def is_absent(self, i: int) -> bool:
        """Return whether the image of row i is a local file that is not there."""
        return self.files.is_absent(i)

    def image_path(self, i: int) -> str:
        """Return where the image of row i is, as a table can say it: a file, or ``TAR/KEY``."""
        return self.files.path_text(i, self.keys[i])

    @cached_property
    def names(self) -> PackedStrings:
        """(N,) texts that name the rows: keys, or SHARD/KEY where several shards have a key."""
        shards_of_key: dict[str, str] = {}
        pairs = zip(self.shards, self.keys, strict=True)
        if all(shards_of_key.setdefault(key, shard) == shard for shard, key in pairs):
            return self.keys
        pairs = zip(self.shards, self.keys, strict=True)
        return PackedStrings.pack(f"{shard}/{key}" if shard else key for shard, key in pairs)

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
        return self.positives_of(slice(None))

    def positives_of(self, rows: np.ndarray | slice) -> np.ndarray:
        """Return the ``positives`` of some rows, without making those of all rows."""
        columns = [self.groups, self.texts]
        if self._has_groups:
            columns.insert(1, self.images)
        return np.stack([column[rows] for column in columns], axis=1)

    @cached_property
    def _has_groups(self) -> bool:
        return self.groups is not self.images and not np.array_equal(self.groups, self.images)


def nothing_usable(reasons: Counter[str], suffixes: Sequence[str], where: str) -> UserError:
    """Return the error of data without a usable row (exit 3).

    Args:
        reasons: Number of rows by reason.
        suffixes: The suffixes of the members of shards; none for other data.
        where: The data.
    """
    why = ", ".join(f"{count} times {reason}" for reason, count in sorted(reasons.items()))
    if not suffixes:
        return bad_input("no row of the data can be used", where=where, why=why or "it has none")
    shown = ", ".join(f".{suffix}" for suffix in suffixes[:SHOWN])
    more = ", ..." if len(suffixes) > SHOWN else ""
    return bad_input(
        "no sample of the shards can be used",
        where=where,
        why=f"{why}; the members end in {shown}{more}; images in "
        f"{', '.join(f'.{suffix}' for suffix in IMAGE_EXTENSIONS[:4])} ... and captions in .txt "
        "are looked for, after the first dot of a file name",
        fix="name the suffix of the images: `image_key`, and the suffix of the captions, or their "
        "key in the .json: `caption_key`",
    )


def open_samples(
    source: str | os.PathLike[str] | list[str],
    *,
    separator: str | None = None,
    image_key: str = IMAGE_COLUMN,
    caption_key: str = CAPTION_COLUMN,
    group_key: str = "group",
    unlabelled: Iterable[str] = (),
    image_root: str | os.PathLike[str] | None = None,
    caption_template: str | None = None,
    split: str | None = None,
    allow_remote: bool = False,
) -> Samples:
    """Open a data set by what its name says.

    The formats are a ``.csv``, ``.tsv`` or ``.txt`` table, MiniCLIP's captions ``.json``,
    Karpathy's ``dataset_*.json``, a ``.jsonl`` of images and captions, a folder of images (in class
    folders or not, with Flickr8k's ``captions.txt`` or Hugging Face's ``metadata.jsonl``),
    CLIP_benchmark's folder of shards, a folder of stored rows, and webdataset shards for everything
    else.

    Args:
        source: A table, a captions.json, a folder, or shards as in ``expand_shards``; local, or
            behind a URL that fsspec knows. Relative paths in a table are those of the working
            folder or, if the first image is not there, of the table's own folder.
        separator: The separator of a table; ``None`` finds it from the header line.
        image_key: Column of a table that names the images. Other than the default, also the suffix
            of images in shards, such as ``input.jpg``, which comes before the usual ones.
        caption_key: Column of a table that holds the captions. Other than the default, also the
            suffix of captions in shards, or the key of the samples' json, before ``.txt``.
        group_key: Column of a table, or key of the samples' json in shards; the default one may be
            absent. ``folder`` says that the folders of a folder of images are classes, even of
            images with captions.
        unlabelled: Values of the group that mean none, as a blank one does. CLIPPINGS has 999;
            999.0, as pandas may write it, is the same.
        image_root: Folder of the images of a table, a captions.json or a .jsonl. By default that of
            a captions.json is ``images`` beside it or its own folder, that of a .jsonl its own.
        caption_template: Caption of an image of a folder that has none beside it, with ``{}`` for
            the name of its class folder (or of the image); ``None``: the name of the class folder
            where no image has captions beside it, else none.
        split: The part of a Karpathy file (``train`` with ``restval``, ``val`` or ``test``), or of
            a folder as in ``part_of_folder``, whose tables are separated by what their headers say.
        allow_remote: Whether data and images behind URLs are read. Without it, an image that a
            table names by its URL counts as unreadable (``remote``).

    Raises:
        UserError: exit 2 for a path that does not exist and for a URL that is not allowed, exit 3
            for bad content.
    """
    if split is not None and _is_folder(source):
        source, separator, split = part_of_folder(Path(str(source)), split), None, None
    name, unlabelled = str(source), frozenset(unlabelled)
    for part in (*(source if isinstance(source, list) else name.split("::")), image_root or ""):
        check_allowed(str(part), allow_remote=allow_remote)
    _check_template(caption_template, isinstance(source, str | os.PathLike), name)
    if split is not None and not name.lower().endswith(".json"):
        raise _no_parts(name)
    from hardpairs.data.stored_rows import is_stored, open_stored  # which writes opened samples

    fields = shard_fields(image_key, caption_key, group_key)
    if isinstance(source, list):
        return _from_shards(source, fields, unlabelled)
    if not is_url(name) and (listed := list_in(Path(name))):
        return _from_captions(name, *read_list(listed[0]), _root(image_root, listed[1]))
    if is_stored(name):
        return open_stored(Path(name), allow_remote=allow_remote)
    if is_image_folder(name):
        if metadata_files(Path(name)):
            return _from_metadata(Path(name), fields.caption, group_key, unlabelled)
        return _from_image_folder(
            Path(name), unlabelled, caption_template, classed=group_key == FOLDER
        )
    if is_table(name):
        _check_is_file(name)
        return _from_table(
            name,
            separator,
            (image_key, caption_key, group_key),
            unlabelled,
            image_root,
            allow_remote=allow_remote,
        )
    if name.lower().endswith((".json", ".jsonl")):
        _check_is_file(name)
        return _from_json(name, image_root, split)
    if wds := clip_benchmark_shards(name):
        return _from_clip_benchmark(name, wds)
    _check_holds_shards(name)
    return _from_shards(source, fields, unlabelled)


def shard_fields(image_key: str, caption_key: str, group_key: str) -> Fields:
    """Return where a sample of shards has what columns of a table have; defaults name nothing.

    Args:
        image_key: As in ``open_samples``.
        caption_key: As in ``open_samples``.
        group_key: As in ``open_samples``.
    """
    return Fields(
        group_key,
        "" if image_key == IMAGE_COLUMN else image_key,
        "" if caption_key == CAPTION_COLUMN else caption_key,
    )


def _check_is_file(name: str) -> None:
    if not is_file(file_path(name)):
        raise usage("no such file", where=name, fix="check the path")


def _check_holds_shards(name: str) -> None:
    """Refuse a local file or folder that is nothing that can be opened."""
    if is_url(name):
        return
    if not name.lower().endswith(".tar") and Path(name).is_file():
        raise usage(
            "unknown kind of data",
            where=name,
            fix="a .csv, .tsv or .txt table, a captions .json, .tar shards, or a folder",
        )
    if Path(name).is_dir() and not tars_in(Path(name)):
        raise usage(
            "the folder holds neither images nor .tar shards",
            where=name,
            fix="check the path: images in it or in folders below it, or shards in it",
        )


def _is_folder(source: str | os.PathLike[str] | list[str]) -> bool:
    return not isinstance(source, list) and not is_url(str(source)) and os.path.isdir(source)


def _no_parts(name: str) -> UserError:
    return usage(
        "`split` is for Karpathy's dataset_*.json, and for a folder with the parts in it",
        where=name,
        fix="leave it out, or name the folder that hardpairs split has made",
    )


def _has_list(name: str) -> bool:
    return not is_url(name) and bool(list_in(Path(name)) or metadata_files(Path(name)))


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
    source: str | os.PathLike[str] | list[str], fields: Fields, unlabelled: frozenset[str]
) -> Samples:
    paths = expand_shards(source)
    if holds_lines(paths):
        return _from_clip_benchmark(str(source), paths)
    names = shard_names(paths)
    samples = rows_of_shards(str(source), paths, names, open_indexes(paths, fields), unlabelled)
    check_shard_rows(str(source), len(samples), bool(samples.labelled.any()), fields)
    return samples


def check_shard_rows(source: str, count: int, has_groups: bool, fields: Fields) -> None:
    """Refuse shards without a sample, or without the key of groups that is asked for (exit 3)."""
    if not count:
        raise bad_input("the shards hold no sample", where=source)
    if fields.group != USUAL.group and not has_groups:
        raise bad_input(
            f"no sample's json has {fields.group!r}",
            where=source,
            fix="name the key of the labels: `group_key`",
        )


def rows_of_shards(
    source: str,
    paths: Sequence[FilePath],
    names: Sequence[str],
    indexes: Sequence[ShardIndex],
    unlabelled: frozenset[str] = frozenset(),
) -> Samples:
    """Return the rows of some shards.

    Args:
        source: What was opened.
        paths: The tars.
        names: Their names.
        indexes: Their indexes.
        unlabelled: As in ``open_samples``.
    """
    counts = [len(index) for index in indexes]
    shards = PackedStrings.pack(
        name for name, count in zip(names, counts, strict=True) for _ in range(count)
    )
    keys = PackedStrings.concatenate([index.keys for index in indexes])
    size = np.concatenate([index.image_size for index in indexes])
    files = ImageFiles(
        [str(path) for path in paths],
        np.repeat(np.arange(len(paths), dtype=np.int32), counts),
        np.concatenate([index.image_offset for index in indexes]),
        size,
        allow_remote=True,  # or the shards would not have been opened
    )
    hashes = [digest for index in indexes for digest in index.hashes]
    return Samples.of_texts(
        source,
        keys=keys,
        captions=PackedStrings.concatenate([index.captions for index in indexes]),
        shards=shards,
        urls=PackedStrings.concatenate([index.urls for index in indexes]),
        groups=[_label(group, unlabelled) for index in indexes for group in index.groups],
        image_names=[
            digest or f"{shard}/{key}"
            for shard, key, digest in zip(shards, keys, hashes, strict=True)
        ],
        files=files,
        missing=size < 0,
        suffixes=sorted({suffix for index in indexes for suffix in index.suffixes}),
    )


def _from_table(
    name: str,
    separator: str | None,
    column_names: tuple[str, str, str],
    unlabelled: frozenset[str],
    image_root: str | os.PathLike[str] | None,
    *,
    allow_remote: bool,
) -> Samples:
    image_key, caption_key, group_key = column_names
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
    groups = [_label(group, unlabelled) for group in columns.get(group_key, ())]
    named_by = shards
    if repeated := _ambiguous(images, shards, keys):
        LOG.warning(
            f"{name}: the columns shard and key are equal on rows of different images "
            f"({len(repeated)} times, such as {' and '.join(min(repeated))}); the paths tell them "
            "apart."
        )
        named_by = blank
        unsaid = {f"{shard}/{key}" for shard, key in repeated}
        groups = ["" if group in unsaid else group for group in groups]
    return Samples.of_texts(
        name,
        keys=PackedStrings.pack(keys),
        captions=PackedStrings.pack(caption.strip() for caption in columns[caption_key]),
        shards=PackedStrings.pack(shards),
        urls=PackedStrings.pack(columns.get("url", blank)),
        groups=groups or None,
        image_names=_listed_names(images, named_by, keys, columns.get("sha256", blank)),
        files=ImageFiles.of_names(
            _below(image_root, images) if image_root else found_beside(images, file_path(name)),
            allow_remote=allow_remote,
        ),
        missing=[not image for image in images],
        image_ids=columns.get("image_id"),
        caption_ids=columns.get("caption_id"),
    )


def _ambiguous(images: list[str], shards: list[str], keys: list[str]) -> set[tuple[str, str]]:
    """Return the pairs of shard and key that stand for several images, as in joined tables."""
    image_of: dict[tuple[str, str], str] = {}
    rows = zip(images, shards, keys, strict=True)
    return {
        (shard, key)
        for image, shard, key in rows
        if shard and image and image_of.setdefault((shard, key), image) != image
    }


def _listed_names(
    images: list[str], shards: list[str], keys: list[str], hashes: list[str]
) -> list[str]:
    """Return what tells the images of a table apart: the hash, the sample of a shard, or the path.

    A table and the shards that it lists give the same names. Rows with one path are one image.
    """
    name_of: dict[str, str] = {}
    names = []
    for image, shard, key, digest in zip(images, shards, keys, hashes, strict=True):
        name = f"{shard}/{key.removesuffix('#0')}" if shard else image
        names.append(digest or (name_of.setdefault(image, name) if image else name))
    return names


def _from_image_folder(
    folder: Path, unlabelled: frozenset[str], template: str | None, *, classed: bool
) -> Samples:
    """Open a folder of images.

    An image with captions beside it has a row for each. Where no image has a file for captions
    beside it, images in folders are in classes: the group is the name of the folder, and the
    caption is the template with that name, with spaces for underscores. A template is also the
    caption of images without a file in other folders. All other images have an empty caption. With
    ``classed`` the groups of all images are those of the folders.
    """
    found = [(path, captions_beside(path)) for path in image_paths(folder)]
    is_captioned = any(captions is not None for _, captions in found)
    rows: list[tuple[str, str, str, str]] = []  # image, key, group, caption
    for path, lines in found:
        inside, key = path.relative_to(folder), printable(str(path.relative_to(folder)))
        class_name = inside.parts[0] if len(inside.parts) > 1 else ""
        captions, is_class = lines or [""], classed
        if lines is None and (template or (class_name and not is_captioned)):
            name = (class_name or path.stem).replace("_", " ")
            captions, is_class = [(template or "{}").replace("{}", name)], True
        for i, caption in enumerate(captions):
            group = _label(class_name, unlabelled) if is_class else ""
            numbered = key if len(captions) == 1 else f"{key}#{i}"
            rows.append((str(path), numbered, group, readable(caption)))
    images, keys, groups, texts = (list(column) for column in zip(*rows, strict=True))
    return Samples.of_texts(
        str(folder),
        keys=PackedStrings.pack(keys),
        captions=PackedStrings.pack(texts),
        groups=groups,
        image_names=images,
        files=ImageFiles.of_names(images),
        missing=[False] * len(rows),
    )


def _from_metadata(
    folder: Path, caption_key: str, group_key: str, unlabelled: frozenset[str]
) -> Samples:
    """Open a folder of images with Hugging Face's metadata files."""
    rows = read_metadata(
        folder, metadata_files(folder), caption_key=caption_key, group_key=group_key
    )
    listed = {str(folder / name) for name in rows.images}
    others = sum(str(path) not in listed for path in image_paths(folder))
    if others:
        LOG.warning(f"{folder}: {others} images are not in the metadata and are left out.")
    groups = [_label(group, unlabelled) for group in rows.groups]
    return _from_captions(str(folder), rows.images, rows.captions, folder, groups=groups)


def _from_clip_benchmark(name: str, paths: Sequence[FilePath]) -> Samples:
    """Open CLIP_benchmark's shards, a row for each line of an image's captions."""
    indexes = open_indexes(paths)
    lines = [
        (shard, sample, f"{indexes[shard].keys[sample]}#{number}", caption)
        for shard, index in enumerate(indexes)
        for sample, text in enumerate(index.captions)
        for number, caption in enumerate(caption_lines(text))
    ]
    if not lines:
        raise bad_input("the shards hold no sample", where=name)
    shard_of, sample_of, keys, captions = map(list, zip(*lines, strict=True))
    found = [(indexes[shard], sample) for shard, sample in zip(shard_of, sample_of, strict=True)]
    names = shard_names(paths)
    shards = [names[shard] for shard in shard_of]
    size = np.array([index.image_size[sample] for index, sample in found], np.int64)
    files = ImageFiles(
        [str(path) for path in paths],
        np.array(shard_of, np.int32),
        np.array([index.image_offset[sample] for index, sample in found], np.int64),
        size,
        [
            f"{paths[shard]}/{index.keys[sample]}.jpg"
            for shard, (index, sample) in zip(shard_of, found, strict=True)
        ],
        allow_remote=True,
    )
    return Samples.of_texts(
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


def _from_json(name: str, image_root: str | os.PathLike[str] | None, split: str | None) -> Samples:
    """Open a .jsonl, a Karpathy file, or MiniCLIP's captions."""
    path = file_path(name)
    if name.lower().endswith(".jsonl"):
        return _from_captions(name, *read_json_lines(path), _root(image_root, path.parent))
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise no_captions(path, f"not JSON: {error}") from None
    if is_karpathy(content):
        rows = read_karpathy(content, split, str(path))
        root = _root(image_root, karpathy_root(rows.images[0], path.parent))
        return _from_captions(str(path), rows.images, rows.captions, root, rows)
    if split is not None:
        raise _no_parts(str(path))
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
    *,
    groups: list[str] | None = None,
) -> Samples:
    """Open images with a caption each; a row's key is the image's name and the row's number."""
    missing: set[str] = set()
    if not is_url(str(root)):
        tar_paths = TarPaths()
        for name in set(names):
            tar, file = tar_paths.split(str(root / name))
            if not tar and not os.path.isfile(file):
                missing.add(name)
    return Samples.of_texts(
        source,
        keys=PackedStrings.pack(f"{printable(name)}#{i}" for i, name in enumerate(names)),
        captions=PackedStrings.pack(map(readable, captions)),
        groups=groups,
        image_names=names,
        files=ImageFiles.of_names(
            [str(root / name) for name in names], allow_remote=is_url(str(root))
        ),
        missing=[name in missing for name in names],
        image_ids=ids.image_ids if ids else None,
        caption_ids=ids.caption_ids if ids else None,
    )
