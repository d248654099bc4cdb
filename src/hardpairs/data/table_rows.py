"""Rows of a table: a ``.csv``, ``.tsv`` or ``.txt`` with a header."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from hardpairs.core.errors import bad_input
from hardpairs.core.remote import file_path, is_url
from hardpairs.data.image_files import ImageFiles, found_beside
from hardpairs.data.listed_rows import images_folder
from hardpairs.data.samples import Samples, group_name
from hardpairs.data.strings import PackedStrings
from hardpairs.data.tables import read_table

LOG = logging.getLogger(__name__)


def open_table(
    name: str,
    separator: str | None,
    column_names: tuple[str, str, str],
    unlabelled: frozenset[str],
    image_root: str | os.PathLike[str] | None,
    *,
    allow_remote: bool,
) -> Samples:
    """Open a table.

    Args:
        name: The file.
        separator: As in ``open_samples``.
        column_names: Columns of images, captions and groups.
        unlabelled: As in ``open_samples``.
        image_root: As in ``open_samples``.
        allow_remote: As in ``open_samples``.

    Raises:
        UserError: Exit 3 for a table that cannot be read, or that has no rows.
    """
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
    groups = [group_name(group, unlabelled) for group in columns.get(group_key, ())]
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


def _below(image_root: str | os.PathLike[str], names: Iterable[str]) -> list[str]:
    """Return the paths of a table's images below a folder; absolute ones and URLs stay."""
    root = images_folder(image_root, Path())
    return [name if is_url(name) else str(root / name) if name else "" for name in names]
