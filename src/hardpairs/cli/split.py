"""Cuts captioned pictures into tables for training, validation and test: by image, so that no picture is in two of them.

    python -m tools.split_pairs --data photos/captions.json --image-root photos/images --out photos/split
    python -m tools.split_pairs --data photos --out split --near-duplicates
    python -m tools.split_pairs --data pairs.csv --out split --near-duplicates --embeddings EMB --duplicate-threshold 0.95

Writes OUT/train.csv, val.csv, test.csv (70, 15 and 15 % of the images, by MiniCLIP's rule and seed), OUT/split.json (the images of each
part) and OUT/manifest.json. The same data is not split twice: the folder stands, and data that was changed since is refused, since another
split would put images that a model was trained on into its test.

A train.csv is an OpenCLIP table: training.main --train-data OUT/train.csv --val-data OUT/val.csv --csv-separator ,
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.errors import Exit, usage, whole_number
from hardpairs.core.vectors import unit_rows
from hardpairs.data.embeddings import open_embeddings
from hardpairs.data.manifest import check_same_dataset
from hardpairs.data.near_duplicates import joined, look_alikes, same_direction
from hardpairs.data.samples import Samples
from hardpairs.data.splits import COSINE, LOOK, PARTS, SEED, Split, image_numbers, split_into
from hardpairs.pages.numbers import plural, reasons_text


def near_in_embeddings(
    samples: Samples, numbers: np.ndarray, folder: str, threshold: float
) -> np.ndarray:
    """(P, 2) pairs of images, by number, whose stored embeddings have a cosine above the threshold; ``numbers`` (N,) is each row's image.

    Raises:
        UserError: exit 4 for embeddings of other data.
    """
    embeddings = open_embeddings(folder)
    check_same_dataset(
        samples.fingerprint, embeddings.fingerprint, ours_name="--data", theirs_name="--embeddings"
    )
    images, where = np.unique(numbers[embeddings.rows], return_index=True)
    vectors = np.stack([np.asarray(embeddings.image[int(row)], np.float32) for row in where])
    return images[same_direction(unit_rows(vectors), threshold)]


def duplicate_groups(samples: Samples, args: argparse.Namespace) -> np.ndarray:
    """(U,) groups of images that are kept together, as the flags ask for."""
    numbers, first = image_numbers(samples)
    looks = [look_alikes(samples, first)] if args.near_duplicates else []
    near = (
        [near_in_embeddings(samples, numbers, args.embeddings, args.duplicate_threshold)]
        if args.embeddings
        else []
    )
    return joined(len(first), np.concatenate(looks + near))


def tell(split: Split, samples: Samples) -> None:
    counts = ", ".join(
        f"{part} {split.manifest['images'][part]} images ({split.manifest['captions'][part]} captions)"
        for part in PARTS
    )
    print(f"{split.folder}: {'' if split.is_new else 'split already, '}{counts}", file=sys.stderr)
    if samples.rejected:
        print(
            f"of these, rows that no stage will use: {reasons_text(samples.rejected)}",
            file=sys.stderr,
        )
    if split.manifest["near_duplicates"] and (together := split.manifest.get("kept_together")):
        print(
            f"{together['images']} images in {plural(together['groups'], 'group')} of near duplicates",
            file=sys.stderr,
        )


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hardpairs split", description="Split captioned pictures by image."
    )
    parser.add_argument(
        "--data",
        "--captions_json",
        required=True,
        help="captions.json, a folder of pictures, a table, or shards",
    )
    parser.add_argument("--out", required=True, type=Path, help="folder of the three tables")
    parser.add_argument("--seed", type=whole_number(0), default=SEED)
    parser.add_argument(
        "--near-duplicates", action="store_true", help="pictures that look the same stay together"
    )
    parser.add_argument(
        "--embeddings",
        help="folder of mining.embed: pictures that are near each other in it stay together, too",
    )
    parser.add_argument(
        "--duplicate-threshold", type=float, default=0.98, help="cosine above which they are near"
    )
    add_data_flags(parser)
    args = parse_arguments(parser, "split", argv)
    if not 0 < args.duplicate_threshold <= 1:
        raise usage(f"--duplicate-threshold must lie in (0, 1], not {args.duplicate_threshold}")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    samples = open_named(args.data, args)
    how = ({LOOK: True} if args.near_duplicates else {}) | (
        {COSINE: args.duplicate_threshold} if args.embeddings else {}
    )
    split = split_into(
        args.out,
        samples,
        image_root=args.image_root,
        image_key=args.csv_img_key,
        caption_key=args.csv_caption_key,
        separator=args.csv_separator,
        seed=args.seed,
        duplicates=how,
        find_groups=(lambda: duplicate_groups(samples, args)) if how else None,
    )
    tell(split, samples)
    return Exit.OK
