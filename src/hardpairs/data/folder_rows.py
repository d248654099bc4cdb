"""Rows of a folder of images: by its folders, captions beside images, or metadata files."""

from __future__ import annotations

import logging
from pathlib import Path

from hardpairs.data.image_files import ImageFiles
from hardpairs.data.image_folder import captions_beside, image_paths
from hardpairs.data.listed_rows import open_listed
from hardpairs.data.metadata_files import metadata_files, read_metadata
from hardpairs.data.samples import Samples, group_name
from hardpairs.data.strings import PackedStrings, printable, readable

LOG = logging.getLogger(__name__)


def open_image_folder(
    folder: Path, unlabelled: frozenset[str], template: str | None, *, classed: bool
) -> Samples:
    """Open a folder of images.

    An image with captions beside it has a row for each. Where no image has a file for captions
    beside it, images in folders are in classes: the group is the name of the folder, and the
    caption is the template with that name, with spaces for underscores. A template is also the
    caption of images without a file in other folders. All other images have an empty caption. With
    ``classed`` the groups of all images are those of the folders.

    Args:
        folder: The folder.
        unlabelled: As in ``open_samples``.
        template: As in ``open_samples``.
        classed: Whether the folders are classes of images with captions, too.
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
            group = group_name(class_name, unlabelled) if is_class else ""
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


def open_metadata_folder(
    folder: Path, caption_key: str, group_key: str, unlabelled: frozenset[str]
) -> Samples:
    """Open a folder of images with Hugging Face's metadata files.

    Args:
        folder: The folder.
        caption_key: As in ``open_samples``.
        group_key: As in ``open_samples``.
        unlabelled: As in ``open_samples``.
    """
    rows = read_metadata(
        folder, metadata_files(folder), caption_key=caption_key, group_key=group_key
    )
    listed = {str(folder / name) for name in rows.images}
    others = sum(str(path) not in listed for path in image_paths(folder))
    if others:
        LOG.warning(f"{folder}: {others} images are not in the metadata and are left out.")
    groups = [group_name(group, unlabelled) for group in rows.groups]
    return open_listed(str(folder), rows.images, rows.captions, folder, groups=groups)
