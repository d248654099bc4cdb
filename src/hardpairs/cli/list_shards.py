"""Lists the samples of img2dataset shards as an OpenCLIP CSV.

    python -m tools.wds_to_csv --shards 'OUT/{00000..00331}.tar' --out cc3m.csv
    python -m tools.wds_to_csv --shards OUT --out cc3m.csv --extract images/      # image files, for tools that cannot read tars

Columns: filepath, title, shard, key, group, sha256 (of the image as downloaded) and url, the last two where img2dataset noted them. The
image of a row is ``OUT/00000.tar/000000012.jpg``, a place inside the tar that our commands read without extracting anything. Every sample
of a shard has its row, a useless one too, so that row numbers mean the same pair as in the shards themselves.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.atomic import atomic_open
from hardpairs.core.errors import Exit, UserError, bad_input
from hardpairs.core.remote import FilePath
from hardpairs.data.downloads import download_failures
from hardpairs.data.shards import ShardIndex, expand_shards

COLUMNS = ("filepath", "title", "shard", "key", "group", "sha256", "url")


def shard_rows(path: FilePath, extract: Path | None) -> list[tuple[str, ...]]:
    """One row per sample of a tar. With ``extract``, images are copied out under names made from shard and row, never from the tar."""
    index = ShardIndex.open(path)
    rows = []
    with path.open("rb") as tar:
        texts = zip(index.keys, index.captions, index.groups, index.hashes, index.urls, strict=True)
        for i, (key, caption, group, digest, url) in enumerate(texts):
            place = f"{path}/{key}.jpg" if index.image_size[i] >= 0 else ""
            if extract is not None and place:
                tar.seek(int(index.image_offset[i]))
                target = extract / path.stem / f"{i:09d}.jpg"
                with atomic_open(target) as file:
                    file.write(tar.read(int(index.image_size[i])))
                place = str(target)
            rows.append(
                (
                    place,
                    caption,
                    path.stem,
                    key,
                    group or digest or f"{path.stem}/{key}",
                    digest,
                    url,
                )
            )
    return rows


def _nothing_to_list(shards: list[str], failures: Counter[str]) -> UserError:
    why = "; ".join(f"{count} times {reason}" for reason, count in failures.most_common(5))
    return bad_input(
        "the shards hold no sample",
        where=" ".join(shards),
        why=why,
        fix="download them again, into an empty folder",
    )


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hardpairs list-shards",
        description="List the samples of webdataset shards as an OpenCLIP CSV.",
    )
    parser.add_argument(
        "--shards", required=True, nargs="+", help="brace text, glob, folder or list"
    )
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--extract", type=Path, help="also copy the images into this folder")
    return parse_arguments(parser, "list-shards", argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    paths = expand_shards(args.shards if len(args.shards) > 1 else args.shards[0])
    rejected: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    total = 0
    with atomic_open(args.out) as binary:
        file = io.TextIOWrapper(binary, encoding="utf-8", newline="")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for path in tqdm(paths, unit="shard", desc="wds_to_csv", file=sys.stderr, disable=None):
            rows = shard_rows(path, args.extract)
            writer.writerows(rows)
            total += len(rows)
            rejected.update(
                "missing_image" if not row[0] else "empty_caption"
                for row in rows
                if not row[0] or not row[1]
            )
            failures += download_failures(path)
        file.detach()  # flushes; the binary file is closed and renamed by its own block
        if not total:
            raise _nothing_to_list(args.shards, failures)
    summary = {
        "rows": total,
        "usable": total - sum(rejected.values()),
        "rejected": dict(rejected),
        "failed_downloads": dict(failures),
    }
    print(json.dumps(summary))
    return Exit.OK
