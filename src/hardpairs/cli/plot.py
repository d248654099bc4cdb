"""Draw the figures of an evaluated run from its stored results, under MiniCLIP's names.

    hardpairs plot runs/lstm --out results
    hardpairs plot logs/hard --data test.csv --name hard --out results

Writes training_curves_NAME.png (where the run was trained in that folder),
retrieval_results_NAME.png, similarity_heatmap_NAME.png and embedding_space_NAME.png, and prints
their paths. No model is loaded and no screen is needed. What cannot be drawn is named, with the
reason. Several runs beside each other: ``hardpairs compare-runs``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.errors import Exit, bad_input
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="hardpairs plot", description="Draw the figures of an evaluated run.")
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="folder that hardpairs evaluate wrote into"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FOLDER", help="where the PNG files go"
    )
    parser.add_argument(
        "--data", help="what the run was evaluated on (default: the path that it was given)"
    )
    parser.add_argument(
        "--name", help="in the figures and their files' names (default: the run's --method)"
    )
    add_data_flags(parser)
    return parse_arguments(parser, "plot", argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = _parse(argv)
    check_exists(args.run, "folder")
    from hardpairs.evaluating.runs import check_evaluated, read_run
    from hardpairs.reporting.plots import draw_figures

    run = read_run(args.run)
    samples = open_named(args.data or str(run.record.get("data")), args)
    check_evaluated(run, samples)
    written = 0
    for name, path, reason in draw_figures(run, samples, args.name or run.method, args.out):
        if path is None:
            print(f"left out: {name} ({reason})", file=sys.stderr)
        else:
            print(path)
            written += 1
    if not written:
        raise bad_input("nothing to draw", where=str(args.run))
    return Exit.OK
