"""Check a data set before it is used: what it holds, what is left out and why.

    hardpairs check pairs.csv
    hardpairs check 'shards/{00000..00009}.tar' --against test.csv --html check.html

Each image is read and decoded once. ``hardpairs check-ready`` asks something else: what a model
can still learn from its pairs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.errors import Exit, bad_input, whole_number
from hardpairs.core.parser import Parser


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="hardpairs check",
        description="Say what a data set holds, what of it is left out and why. "
        "(check-ready says what a model can still learn from it.)",
    )
    parser.add_argument("data", help="CSV, TSV, shards, captions.json or a folder of images")
    parser.add_argument(
        "--against",
        metavar="DATA",
        help="another data set, such as the test pairs: which rows are in both",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of text")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page")
    add_data_flags(parser)
    parser.add_argument(
        "--workers", type=whole_number(1), default=2, help="threads that read and decode"
    )
    return parse_arguments(parser, "check", argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = _parse(argv)
    from hardpairs.checking.overlap import overlap
    from hardpairs.checking.report import check_page, check_text
    from hardpairs.checking.survey import as_json, read_data, survey
    from hardpairs.core.atomic import write_text

    sources = [args.data, *([args.against] if args.against else [])]
    opened = [open_named(source, args) for source in sources]
    read = [read_data(samples, workers=args.workers) for samples in opened]
    found = survey(read[0])
    shared = overlap(*read) if args.against else []
    if args.html:
        from hardpairs.pages.template import render_template

        page = check_page(found, args.against, shared)
        write_text(args.html, render_template("check.html.j2", page=page))
        print(f"page: {args.html}", file=sys.stderr)
    if args.json:
        against = {"against": args.against, "shared": [vars(finding) for finding in shared]}
        print(json.dumps({**as_json(found), **(against if args.against else {})}))
    else:
        print(check_text(found, args.against, shared))
    if not found.usable:
        raise bad_input("no row can be used", where=args.data, why="see the reasons above")
    return Exit.OK
