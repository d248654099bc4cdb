"""Rows of a list of images with a caption each: JSON files, and lists in a folder."""

from __future__ import annotations

import os

from hardpairs.core.errors import UserError, usage
from hardpairs.core.parse import parse_json
from hardpairs.core.remote import FilePath, file_path, is_url
from hardpairs.data.caption_lists import no_captions, read_captions_json, read_json_lines
from hardpairs.data.image_files import ImageFiles
from hardpairs.data.karpathy import KarpathyRows, is_karpathy, karpathy_root, read_karpathy
from hardpairs.data.members import TarPaths
from hardpairs.data.samples import Samples
from hardpairs.data.strings import PackedStrings, printable, readable


def open_json(name: str, image_root: str | os.PathLike[str] | None, split: str | None) -> Samples:
    """Open a .jsonl, a Karpathy file, or MiniCLIP's captions.

    Args:
        name: The file.
        image_root: As in ``open_samples``.
        split: As in ``open_samples``.

    Raises:
        UserError: Exit 2 for a part of a file without parts; exit 3 for bad content.
    """
    path = file_path(name)
    if name.lower().endswith(".jsonl"):
        return open_listed(name, *read_json_lines(path), images_folder(image_root, path.parent))
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise no_captions(path, f"not JSON: {error}") from None
    if is_karpathy(content):
        rows = read_karpathy(content, split, str(path))
        root = images_folder(image_root, karpathy_root(rows.images[0], path.parent))
        return open_listed(str(path), rows.images, rows.captions, root, rows)
    if split is not None:
        raise no_parts(str(path))
    root = images_folder(image_root, path.parent / "images")
    names, captions = read_captions_json(path, content)
    return open_listed(str(path), names, captions, root if root.is_dir() else path.parent)


def no_parts(name: str) -> UserError:
    """Return the error of a part that is asked of data without parts (exit 2)."""
    return usage(
        "`split` is for Karpathy's dataset_*.json, and for a folder with the parts in it",
        where=name,
        fix="leave it out, or name the folder that hardpairs split has made",
    )


def images_folder(image_root: str | os.PathLike[str] | None, otherwise: FilePath) -> FilePath:
    """Return the folder of the images that is given, else another one.

    Raises:
        UserError: Exit 2 when the given one is no folder.
    """
    if not image_root:
        return otherwise
    root = file_path(image_root)
    if not root.is_dir():
        raise usage("no such `image_root`", where=str(image_root), fix="check the path")
    return root


def open_listed(
    source: str,
    names: list[str],
    captions: list[str],
    root: FilePath,
    ids: KarpathyRows | None = None,
    *,
    groups: list[str] | None = None,
) -> Samples:
    """Open images with a caption each; a row's key is the image's name and the row's number.

    Args:
        source: What was opened.
        names: (N,) images, below the folder.
        captions: (N,) texts.
        root: The folder of the images.
        ids: What names the images and captions in other files; ``None``: nothing does.
        groups: (N,) texts, empty for a row without one; ``None``: no row has one.
    """
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
