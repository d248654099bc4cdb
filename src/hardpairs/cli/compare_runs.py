"""Compare evaluated runs: mean and standard deviation over seeds of each method.

    hardpairs compare-runs runs/lstm-* runs/transformer-* --out results

Runs evaluated with one --method are seeds of it. Prints a table; writes FOLDER/comparison.json,
.csv and .md, and MiniCLIP's metrics_comparison.png (also under its other name,
model_comparison.png). For tests of the differences: ``hardpairs report``.
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

FIGURES = ("metrics_comparison.png", "model_comparison.png")
"""MiniCLIP's README shows the one, its code writes the other."""


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="hardpairs compare-runs", description="Mean and spread of evaluated runs.")
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="folder that hardpairs evaluate wrote into",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="also writes the table as JSON, CSV and Markdown, and the figure",
    )
    return parse_arguments(parser, "compare-runs", argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = _parse(argv)
    for run in args.runs:
        check_exists(run, "folder")
    from hardpairs.evaluating.runs import read_methods
    from hardpairs.reporting import spread_table

    methods = read_methods(args.runs)
    for warning in spread_table.repeated_seeds(methods):
        print(f"warning: {warning}", file=sys.stderr)
    table = spread_table.spread_markdown(methods)
    if args.out:
        from hardpairs.pages.charts import save_png, styled
        from hardpairs.reporting.plots.metrics_comparison import metrics_comparison

        write_json(args.out / "comparison.json", spread_table.spread_record(methods))
        write_text(args.out / "comparison.csv", spread_table.spread_csv(methods))
        write_text(args.out / "comparison.md", table)
        with styled():
            for name in FIGURES:
                save_png(metrics_comparison(methods), args.out / name)
        print(f"comparison: {args.out / 'comparison.json'}", file=sys.stderr)
    print(table, end="")
    return Exit.OK
