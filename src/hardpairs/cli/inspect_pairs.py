"""Show hard pairs: numbers of one table or several, and a page with likely false negatives first.

    hardpairs inspect pairs OUT/cc3m_hard_sample.csv --data cc3m.csv --html pairs.html
    hardpairs inspect pairs HPM/cc3m_hard_pairs IMAGE/cc3m_hard_pairs TEXT/cc3m_hard_pairs

The page is offline. Rows that one marks on it are saved to a file, which
``hardpairs mine --reject`` and ``hardpairs train --reject`` leave out.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.atomic import write_text
from hardpairs.core.errors import Exit, usage
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="hardpairs inspect pairs",
        description="Show hard pairs, in numbers and in images.",
    )
    parser.add_argument(
        "tables",
        nargs="+",
        type=Path,
        help="hard pairs: CSV or JSON, the table's folder, or the folder of one mining run",
    )
    parser.add_argument(
        "--data",
        help="what they were mined on, for images and captions: CSV, TSV, shards or captions.json",
    )
    parser.add_argument("--html", type=Path, help="the page; needs --data")
    add_data_flags(parser)
    args = parse_arguments(parser, "inspect-pairs", argv)
    if args.html and not args.data:
        raise usage(
            "--html shows images, and nothing says where they are",
            fix="--data: what the pairs were mined on",
        )
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    args = _parse(argv)
    for table in args.tables:
        check_exists(table)
    from hardpairs.data.open_tables import open_tables
    from hardpairs.reporting.pair_page import make_page, render, terminal_text

    samples = open_named(args.data, args) if args.data else None
    page = make_page(
        open_tables(args.tables, samples),
        samples if args.html else None,
        command=shlex.join(["hardpairs", "inspect", "pairs", *argv]),
    )
    print(terminal_text(page))
    if args.html:
        write_text(args.html, render(page))
        print(f"\npage: {args.html}")
    return Exit.OK
