"""The samples of img2dataset shards as a table that OpenCLIP reads."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hardpairs.core.atomic import atomic_open, write_csv
from hardpairs.core.errors import UserError, bad_input
from hardpairs.core.remote import FilePath, open_in_order
from hardpairs.data.clip_benchmark import caption_lines, holds_lines
from hardpairs.data.downloads import download_failures
from hardpairs.data.samples import nothing_usable
from hardpairs.data.shards import USUAL, Fields, ShardIndex, expand_shards, shard_names

COLUMNS = ("filepath", "title", "shard", "key", "group", "sha256", "url")


def write_shard_table(
    shards: Sequence[str], out: Path, *, fields: Fields = USUAL, extract: Path | None = None
) -> dict[str, Any]:
    """Write a CSV with a row for every sample of the shards, useless ones included.

    Row numbers therefore mean the same pair as in the shards. The image of a row is a path inside
    the tar, such as ``OUT/00000.tar/000000012.jpg``, which ``open_samples`` reads.

    Args:
        shards: Brace text, glob, folder or list of tars.
        out: The CSV.
        fields: Where images, captions and groups are in a sample.
        extract: A folder into which the images are copied, and whose files the table lists.

    Returns:
        Numbers of rows, of usable ones, of rejected ones and of failed downloads by reason.

    Raises:
        UserError: Exit 3, the shards hold no sample, or none with an image and a caption.
    """
    paths = expand_shards(shards[0] if len(shards) == 1 else list(shards))
    are_lines = holds_lines(paths)
    rejected: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    suffixes: set[str] = set()

    def rows() -> Iterator[tuple[str, ...]]:
        count = 0
        named = list(zip(paths, shard_names(paths), strict=True))
        for path, name in tqdm(
            named, unit="shard", desc="list shards", file=sys.stderr, disable=None
        ):
            for row in shard_rows(path, name, fields, extract, lines=are_lines):
                if not row[0] or not row[1]:
                    rejected["empty_caption" if row[0] else "missing_image"] += 1
                count += 1
                yield row
            failures.update(download_failures(path))
            suffixes.update(ShardIndex.open(path, fields).suffixes)
        if not count:
            raise _no_sample(shards, failures)
        if count == sum(rejected.values()):
            raise nothing_usable(rejected, sorted(suffixes), " ".join(shards))

    total = write_csv(out, COLUMNS, rows(), line_end="\n")
    return {
        "rows": total,
        "usable": total - sum(rejected.values()),
        "rejected": dict(rejected),
        "failed_downloads": dict(failures),
    }


def shard_rows(
    path: FilePath, shard: str, fields: Fields, extract: Path | None, *, lines: bool = False
) -> Iterator[tuple[str, ...]]:
    """Yield the rows of ``COLUMNS`` of a tar.

    Args:
        path: The tar.
        shard: Its name, from ``shard_names``.
        fields: Where images, captions and groups are in a sample.
        extract: A folder into which the images are copied, under names made from shard and row and
            never from the tar.
        lines: Whether each line of a text is a caption, with a row of its own.
    """
    index = ShardIndex.open(path, fields)
    with open_in_order(path) as tar:
        texts = zip(index.keys, index.captions, index.groups, index.hashes, index.urls, strict=True)
        for i, (key, caption, group, digest, url) in enumerate(texts):
            image = f"{path}/{key}.jpg" if index.image_size[i] >= 0 else ""
            if extract is not None and image:
                tar.seek(int(index.image_offset[i]))
                image = str(extract / shard / f"{i:09d}.jpg")
                with atomic_open(image) as file:
                    file.write(tar.read(int(index.image_size[i])))
            group = group or digest or f"{shard}/{key}"
            if not lines:
                yield image, caption, shard, key, group, digest, url
                continue
            for number, line in enumerate(caption_lines(caption)):
                yield image, line, shard, f"{key}#{number}", group, digest, url


def _no_sample(shards: Sequence[str], failures: Counter[str]) -> UserError:
    why = "; ".join(f"{count} times {reason}" for reason, count in failures.most_common(5))
    return bad_input(
        "the shards hold no sample",
        where=" ".join(shards),
        why=why,
        fix="download them again, into an empty folder",
    )
