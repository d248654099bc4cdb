"""Rows of webdataset shards: those of img2dataset, and CLIP_benchmark's."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from hardpairs.core.errors import bad_input
from hardpairs.core.remote import FilePath
from hardpairs.data.clip_benchmark import caption_lines, holds_lines
from hardpairs.data.image_files import ImageFiles
from hardpairs.data.samples import CAPTION_COLUMN, IMAGE_COLUMN, Samples, group_name
from hardpairs.data.shards import (
    USUAL,
    Fields,
    ShardIndex,
    expand_shards,
    open_indexes,
    shard_names,
)
from hardpairs.data.strings import PackedStrings


def open_shards(
    source: str | os.PathLike[str] | list[str], fields: Fields, unlabelled: frozenset[str]
) -> Samples:
    """Open shards.

    Args:
        source: As in ``expand_shards``.
        fields: Where a sample has what.
        unlabelled: As in ``open_samples``.

    Raises:
        UserError: Exit 2 for shards that do not exist; exit 3 for shards without a sample, or
            without the key of groups that is asked for.
    """
    paths = expand_shards(source)
    if holds_lines(paths):
        return open_clip_benchmark(str(source), paths)
    names = shard_names(paths)
    samples = rows_of_shards(str(source), paths, names, open_indexes(paths, fields), unlabelled)
    check_shard_rows(str(source), len(samples), bool(samples.labelled.any()), fields)
    return samples


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
        groups=[group_name(group, unlabelled) for index in indexes for group in index.groups],
        image_names=[
            digest or f"{shard}/{key}"
            for shard, key, digest in zip(shards, keys, hashes, strict=True)
        ],
        files=files,
        missing=size < 0,
        suffixes=sorted({suffix for index in indexes for suffix in index.suffixes}),
    )


def open_clip_benchmark(name: str, paths: Sequence[FilePath]) -> Samples:
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
