"""Make tables for training and linking from Label Studio's pairs, or from CLIPPINGS' CSV files.

    # Same and Different, to clusters:
    hardpairs format-news pairs1.json pairs2.json --image-root scans --out news
    # image_id,caption,cluster_label:
    hardpairs format-news day.csv --image-root scans --out news
    # image_path,text,label without a header:
    hardpairs format-news food.csv --no-header --split-by row --out food
    # image and text, no labels:
    hardpairs format-news scans.csv --unlabelled --out news

Writes OUT/labelled_news_{train,val}_reformatted.csv and the same with _no_singletons, or
OUT/unlabelled_news_{train,val}_reformatted.csv, all with the columns image_path,text,label. Also
writes OUT/conflicts.csv: pairs that were called different and that others join, each with the chain
between them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.errors import Exit, usage
from hardpairs.core.parser import Parser

if TYPE_CHECKING:
    from hardpairs.linking.label_studio import Clusters


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = Parser(
        prog="hardpairs format-news",
        description="Tables of labeled news from Label Studio pairs or CSV files.",
    )
    parser.add_argument(
        "files", nargs="+", type=Path, help="Label Studio exports (.json), or one table (.csv)"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--image-root", type=Path, default=Path(), help="folder of the images, put before each name"
    )
    parser.add_argument(
        "--image-extension",
        default="",
        metavar=".EXT",
        help="put behind names without one (default: that of the file that is there)",
    )
    parser.add_argument(
        "--no-header",
        action="store_true",
        help="the table's columns are image_path, text and label, without a header",
    )
    parser.add_argument(
        "--unlabelled", action="store_true", help="no labels: split by row, label 999"
    )
    parser.add_argument(
        "--split-by",
        choices=("label", "row"),
        default="label",
        help="what stays together (Food101: row)",
    )
    args = parse_arguments(parser, "format-news", argv)
    tables = [file for file in args.files if file.suffix.lower() != ".json"]
    if tables and len(args.files) > 1:
        raise usage("give Label Studio exports, or one table", where=str(tables[0]))
    for file in args.files:
        if not file.is_file():
            raise usage("no such file", where=str(file), fix="check the path")
    if args.image_extension:
        args.image_extension = f".{args.image_extension.lstrip('.')}"
    if args.unlabelled and not tables:
        raise usage("--unlabelled is for a table; pairs are labels")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = parse_args(argv)
    from hardpairs.compat import clippings_tables as tables

    if args.files[0].suffix.lower() == ".json":
        clusters = _clusters(args.files)
        if clusters.conflicts:
            path = args.out / "conflicts.csv"
            tables.write_conflicts(path, clusters)
            count = len(clusters.conflicts)
            print(f"{count} pairs called different are in one cluster: {path}", file=sys.stderr)
        rows = tables.rows_of_clusters(clusters)
    else:
        header, labeled = not args.no_header, not args.unlabelled
        rows = tables.read_rows(args.files[0], header=header, labeled=labeled)
    rows, absent = tables.find_images(rows, args.image_root, args.image_extension)
    if absent:
        print(
            f"warning: {len(absent)} of {len({row.image_path for row in rows})} images are not "
            f"there: {', '.join(absent[:3])}; --image-root and --image-extension say where and "
            "what they are",
            file=sys.stderr,
        )
    parts = tables.split_rows(rows, by_row=args.unlabelled or args.split_by == "row")
    tables.write_parts(args.out, parts, labeled=not args.unlabelled)
    labels = len({row.label for row in rows})
    print(json.dumps({"rows": len(rows), "labels": labels, "out": str(args.out)}))
    return Exit.OK


def _clusters(files: list[Path]) -> Clusters:
    """Read all exports; print what was left out and how large the clusters are."""
    from hardpairs.linking.label_studio import cluster_pairs, read_label_studio

    pairs = []
    for file in files:
        labeled, left_out = read_label_studio(file)
        pairs += labeled
        if left_out:
            counts = ", ".join(f"{choice} {count}" for choice, count in left_out.items())
            print(
                f"{file}: {left_out.total()} pairs that are neither Same nor Different are left "
                f"out ({counts})",
                file=sys.stderr,
            )
    clusters = cluster_pairs(pairs)
    sizes = Counter(clusters.labels.values())
    single = sum(size == 1 for size in sizes.values())
    text = f"{len(sizes) - single} clusters and {single} single images"
    print(f"{len(clusters.labels)} images: {text}", file=sys.stderr)
    return clusters
