r"""Split captioned images into tables for training, validation and test.

    hardpairs split --data photos/captions.json --image-root photos/images --out photos/split
    hardpairs split --data photos --out split --near-duplicates
    hardpairs split --data pairs.csv --out split --near-duplicates --embeddings EMB \
        --duplicate-threshold 0.95

No image is in two of them. Writes OUT/train.csv, val.csv, test.csv (70, 15 and 15 % of the images,
by MiniCLIP's rule and seed), OUT/split.json (the images of each part) and OUT/manifest.json. The
same data is not split twice: the folder stays as it is. Data that was changed since is refused, as
another split would put images that a model was trained on into its test.

A train.csv is an OpenCLIP table:
hardpairs train --train-data OUT/train.csv --val-data OUT/val.csv --csv-separator ,
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.errors import Exit, flags, whole_number
from hardpairs.core.parser import Parser

if TYPE_CHECKING:
    from hardpairs.data.samples import Samples
    from hardpairs.data.splits import Split


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(prog="hardpairs split", description="Split captioned images by image.")
    add = parser.add_argument
    add("--data", required=True, help="captions.json, a folder of images, a table, or shards")
    add("--out", required=True, type=Path, help="folder of the three tables")
    add("--seed", type=whole_number(0), default=42, help="seed of the split")
    add("--near-duplicates", action="store_true", help="images that look the same stay together")
    add(
        "--embeddings",
        help="folder of embeddings: images that are near each other in it stay together, too",
    )
    add("--duplicate-threshold", type=float, default=0.98, help="cosine above which they are near")
    add_data_flags(parser)
    return parse_arguments(parser, "split", argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = parse_args(argv)
    from hardpairs.data.near_duplicates import DuplicateSearch
    from hardpairs.data.splits import split_into

    with flags(vars(args), threshold="--duplicate-threshold"):
        search = DuplicateSearch(
            by_look=args.near_duplicates,
            embeddings=args.embeddings,
            threshold=args.duplicate_threshold,
        )
        samples = open_named(args.data, args)
        split = split_into(
            args.out,
            samples,
            image_root=args.image_root,
            image_key=args.csv_img_key,
            caption_key=args.csv_caption_key,
            separator=args.csv_separator,
            seed=args.seed,
            duplicates=search.recipe,
            find_groups=(lambda: search.groups(samples)) if search.recipe else None,
        )
    _report(split, samples)
    return Exit.OK


def _report(split: Split, samples: Samples) -> None:
    from hardpairs.data.split_parts import PARTS
    from hardpairs.pages.numbers import plural, reasons_text

    images, captions = split.manifest["images"], split.manifest["captions"]
    counts = ", ".join(
        f"{part} {images[part]} images ({captions[part]} captions)" for part in PARTS
    )
    print(f"{split.folder}: {'' if split.is_new else 'split already, '}{counts}", file=sys.stderr)
    if samples.rejected:
        print(
            f"of these, rows that no stage will use: {reasons_text(samples.rejected)}",
            file=sys.stderr,
        )
    if split.manifest["near_duplicates"] and (together := split.manifest.get("kept_together")):
        groups = plural(together["groups"], "group")
        print(f"{together['images']} images in {groups} of near duplicates", file=sys.stderr)
