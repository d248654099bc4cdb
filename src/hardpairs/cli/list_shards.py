"""List the samples of img2dataset shards as an OpenCLIP CSV.

    hardpairs list-shards --shards 'OUT/{00000..00331}.tar' --out cc3m.csv
    hardpairs list-shards --shards OUT --out cc3m.csv --extract images/

The columns are filepath, title, shard, key, group, sha256 (of the image as downloaded) and url, the
last two where img2dataset noted them. The image of a row is OUT/00000.tar/000000012.jpg, a path
inside the tar that our commands read without extracting anything; --extract copies the images into
a folder, for tools that cannot read tars. Every sample of a shard has its row, a useless one too,
so that row numbers mean the same pair as in the shards.

--mapped writes a folder of memory-mapped files in place of the CSV, for hundreds of millions of
rows: all processes of a machine share them. Every command reads the folder as data.

--csv-img-key and --csv-caption-key read shards of other names, such as input.jpg and outputs.txt.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.errors import Exit, flags, usage
from hardpairs.core.parser import Parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(
        prog="hardpairs list-shards",
        description="List the samples of img2dataset shards as an OpenCLIP CSV.",
    )
    add = parser.add_argument
    add("--shards", required=True, nargs="+", help="brace text, glob, folder or list")
    add("--out", required=True, type=Path, help="the CSV, or the folder of --mapped")
    add("--mapped", action="store_true", help="write memory-mapped files for very large data")
    add("--extract", type=Path, help="also copy the images into this folder")
    add(
        "--csv-img-key",
        default="filepath",
        metavar="SUFFIX",
        help="suffix of the images, such as input.jpg (default: jpg, png and others)",
    )
    add(
        "--csv-caption-key",
        default="title",
        metavar="SUFFIX",
        help="suffix of the captions, or their key in the .json (default: txt)",
    )
    return parse_arguments(parser, "list-shards", argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = parse_args(argv)
    from hardpairs.data.shard_rows import shard_fields
    from hardpairs.data.shard_table import write_shard_table
    from hardpairs.data.stored_rows import store_rows

    fields = shard_fields(args.csv_img_key, args.csv_caption_key, "group")
    with flags(vars(args), image_key="--csv-img-key", caption_key="--csv-caption-key"):
        if args.mapped and args.extract is not None:
            raise usage("`mapped` extracts no images", fix="leave out `extract`")
        if args.mapped:
            rows = store_rows(args.shards, args.out, fields=fields)
            summary = {"rows": len(rows), "usable": len(rows) - len(rows.rejected)}
        else:
            summary = write_shard_table(args.shards, args.out, fields=fields, extract=args.extract)
    print(json.dumps(summary))
    return Exit.OK
