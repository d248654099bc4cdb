"""Rows of a data set by number, whatever holds them.

Row numbers count every row of the source in order, rejected ones included, so that all stages mean
the same pair by the same number. ``opening.open_samples`` makes them of any format.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np

from hardpairs.core.errors import UserError, bad_input
from hardpairs.data.image_files import ImageFiles
from hardpairs.data.manifest import dataset_fingerprint, stable_ids
from hardpairs.data.shards import IMAGE_EXTENSIONS
from hardpairs.data.strings import PackedStrings

EMPTY_CAPTION, MISSING_IMAGE = "empty_caption", "missing_image"
SHOWN = 20
"""Number of suffixes that a message names."""

IMAGE_COLUMN, CAPTION_COLUMN = "filepath", "title"
"""OpenCLIP's names of the columns of a table."""
FOLDER = "folder"
"""The ``group_key`` of a folder of images whose folders are classes."""


class Samples:
    """Rows of a data set by number.

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


def group_name(value: str, unlabelled: frozenset[str]) -> str:
    """Return a row's group as it is compared: stripped, and empty where the value means none."""
    value = value.strip()
    return "" if value in unlabelled or value.removesuffix(".0") in unlabelled else value
