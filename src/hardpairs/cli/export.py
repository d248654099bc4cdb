"""Write hard pairs in the formats of other libraries.

    hardpairs export OUT/cc3m_hard_sample.csv --to parquet --out pairs.parquet
    hardpairs export OUT/cc3m_hard_sample.csv --to st-ntuple --data cc3m.csv --out tuples.parquet
    hardpairs export OUT/cc3m_hard_sample.csv --to fe-jsonl --data cc3m.csv --out train.jsonl

| --to | one row is | read by |
|---|---|---|
| parquet | a pair: anchor, partner, rank, score; with --data their keys and captions | anything |
| st-triplet | anchor, positive, negative | sentence-transformers |
| st-ntuple | anchor, positive, negative_1 ... negative_n | sentence-transformers |
| fe-jsonl | {"query", "pos": [...], "neg": [...]} | FlagEmbedding |

--anchor image: an image with its caption and the captions of its hard pairs. text: a caption with
its image and the images of its hard pairs. caption: a caption with the other captions of its group
(with itself where there is none, as in SimCSE, arXiv:2104.08821) and the captions of its hard
pairs. Rows without a caption or an image, known positives of the anchor (one group, image or
caption) and repeated negatives are left out of these formats and counted, and the next hard pair is
taken; parquet holds the table as it is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.errors import Exit, flags, usage, whole_number
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists

FORMATS = ("parquet", "st-triplet", "st-ntuple", "fe-jsonl")
DEFAULT_NEGATIVES = 5


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line, and refuse flags that contradict each other."""
    parser = Parser(
        prog="hardpairs export",
        description="Write hard pairs in the formats of other libraries.",
    )
    add = parser.add_argument
    add(
        "table",
        type=Path,
        help="hard pairs: CSV or JSON, the table's folder, or the folder of one mining run",
    )
    add("--to", required=True, choices=FORMATS, help="the format")
    add("--out", required=True, type=Path, help="the file to write")
    add("--data", help="what they were mined on: CSV, TSV, shards or captions.json")
    add(
        "--anchor",
        choices=("image", "text", "caption"),
        help="default: image, and caption for fe-jsonl",
    )
    add(
        "--negatives",
        type=whole_number(1),
        help="hardest negatives of each row to write (default: 5; parquet: all)",
    )
    add_data_flags(parser)
    args = parse_arguments(parser, "export", argv)
    if args.to == "parquet" and args.anchor:
        raise usage(
            "--anchor is for the formats with an anchor and a positive",
            fix="leave it out, or --to st-triplet",
        )
    if args.to != "parquet" and not args.data:
        raise usage(
            f"--to {args.to} writes captions, and nothing says where they are",
            fix="--data: what the pairs were mined on",
        )
    if args.to == "fe-jsonl" and args.anchor not in (None, "caption"):
        raise usage("FlagEmbedding reads texts alone", fix="--anchor caption")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = parse_args(argv)
    check_exists(args.table)
    from hardpairs.data.export import WRITERS, ExportRows, write_pairs
    from hardpairs.data.open_tables import open_tables

    with flags(vars(args)):
        samples = open_named(args.data, args) if args.data else None
        (table,) = open_tables([args.table], samples).values()
        if samples is None or args.to == "parquet":
            count = write_pairs(table, samples, args.out, args.negatives)
            print(f"{count} pairs: {args.out}", file=sys.stderr)
            return Exit.OK
        anchor = args.anchor or ("caption" if args.to == "fe-jsonl" else "image")
        rows = ExportRows(table, samples, anchor, args.negatives or DEFAULT_NEGATIVES)
        WRITERS[args.to](rows, args.out)
    counts = ", ".join(f"{count} {what}" for what, count in rows.counts.items() if count)
    print(f"{counts}: {args.out}", file=sys.stderr)
    return Exit.OK
