"""Open a data set of any format as rows by number."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from hardpairs.core.errors import usage
from hardpairs.core.remote import check_allowed, file_path, is_file, is_url
from hardpairs.data.caption_lists import list_in, read_list
from hardpairs.data.clip_benchmark import clip_benchmark_shards
from hardpairs.data.folder_rows import open_image_folder, open_metadata_folder
from hardpairs.data.image_folder import is_image_folder
from hardpairs.data.listed_rows import images_folder, no_parts, open_json, open_listed
from hardpairs.data.metadata_files import metadata_files
from hardpairs.data.samples import CAPTION_COLUMN, FOLDER, IMAGE_COLUMN, Samples
from hardpairs.data.shard_rows import open_clip_benchmark, open_shards, shard_fields
from hardpairs.data.shards import tars_in
from hardpairs.data.split_parts import part_of_folder
from hardpairs.data.stored_rows import is_stored, open_stored
from hardpairs.data.table_rows import open_table
from hardpairs.data.tables import is_table


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
        raise no_parts(name)
    fields = shard_fields(image_key, caption_key, group_key)
    if isinstance(source, list):
        return open_shards(source, fields, unlabelled)
    if not is_url(name) and (listed := list_in(Path(name))):
        return open_listed(name, *read_list(listed[0]), images_folder(image_root, listed[1]))
    if is_stored(name):
        return open_stored(Path(name), allow_remote=allow_remote)
    if is_image_folder(name):
        if metadata_files(Path(name)):
            return open_metadata_folder(Path(name), fields.caption, group_key, unlabelled)
        return open_image_folder(
            Path(name), unlabelled, caption_template, classed=group_key == FOLDER
        )
    if is_table(name):
        _check_is_file(name)
        return open_table(
            name,
            separator,
            (image_key, caption_key, group_key),
            unlabelled,
            image_root,
            allow_remote=allow_remote,
        )
    if name.lower().endswith((".json", ".jsonl")):
        _check_is_file(name)
        return open_json(name, image_root, split)
    if wds := clip_benchmark_shards(name):
        return open_clip_benchmark(name, wds)
    _check_holds_shards(name)
    return open_shards(source, fields, unlabelled)


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
