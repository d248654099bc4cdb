r"""Make one offline page of finished runs: results, curves, examples, hard pairs, their origin.

    hardpairs report runs/a runs/b --out report.html
    hardpairs report runs/quickstart/{base,plain,hard} --out report.html --steps steps.tsv \
        --summary summary.json

Each RUN is a folder that hardpairs evaluate wrote into; a training run's own folder shows its
curves too. Runs evaluated with one --method are seeds of it. Prints the results as a table. The
images are found through the paths in the runs' own files, from the folder in which those were
given; what is not there any more is left out, and the page says so.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.atomic import write_json, write_text
from hardpairs.core.errors import Exit
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="hardpairs report", description="Make one offline page of finished runs.")
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="folder that hardpairs evaluate wrote into",
    )
    parser.add_argument("--out", required=True, type=Path, help="the page")
    parser.add_argument(
        "--steps", type=Path, help="lines of step, seconds and command, with tabs between"
    )
    parser.add_argument("--summary", type=Path, help="also write the numbers as JSON")
    parser.add_argument("--title", help="title of the page")
    return parse_arguments(parser, "report", argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = _parse(argv)
    for run in args.runs:
        check_exists(run, "folder")
    from hardpairs.evaluating.methods import compare
    from hardpairs.evaluating.runs import read_methods
    from hardpairs.reporting.page import make_page, render
    from hardpairs.reporting.provenance import read_steps
    from hardpairs.reporting.summary import summary, terminal_table

    steps = read_steps(args.steps)
    comparison = compare(read_methods(args.runs))
    page = make_page(comparison, title=args.title, steps=steps)
    write_text(args.out, render(page))
    if args.summary:
        seconds = {step.name: step.seconds for step in steps}
        statistics = page.training_pairs.statistics if page.training_pairs else {}
        write_json(args.summary, summary(comparison, seconds=seconds, pair_statistics=statistics))
    for note in page.left_out:
        print(f"left out: {note}", file=sys.stderr)
    print(terminal_table(comparison))
    print(f"\nreport: {args.out}")
    return Exit.OK
