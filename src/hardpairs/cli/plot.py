"""Draws the figures of an evaluated run from its stored results, under MiniCLIP's names.

    python -m tools.plot_run runs/lstm --out results
    python -m tools.plot_run logs/hard --data test.csv --name hard --out results

Writes training_curves_NAME.png (where the run was trained in that folder), retrieval_results_NAME.png, similarity_heatmap_NAME.png and
embedding_space_NAME.png, and prints their paths. No model is loaded and no screen is needed. What cannot be drawn is named, with the reason.
Several runs beside each other: ``python -m tools.compare_runs``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.errors import Exit, bad_input
from hardpairs.data.manifest import check_same_dataset
from hardpairs.data.samples import Samples
from hardpairs.evaluating.drawn import read_drawn
from hardpairs.evaluating.results import file_label
from hardpairs.evaluating.runs import Run, read_run
from hardpairs.reporting.plots.curves import training_curves
from hardpairs.reporting.plots.heatmap import similarity_heatmap
from hardpairs.reporting.plots.retrieved import retrieval_results
from hardpairs.reporting.plots.space import FEWEST, embedding_space
from hardpairs.reporting.plots.style import save, styled


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hardpairs plot", description="Draw the figures of an evaluated run."
    )
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="folder that tools.evaluate wrote into"
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


def evaluated_on(run: Run, args: argparse.Namespace) -> Samples:
    """The data of a run.

    Raises:
        UserError: exit 2 or 3 when it is not there or not readable, exit 4 when it is other data.
    """
    source = args.data or str(run.record.get("data"))
    samples = open_named(source, args)
    check_same_dataset(
        samples.fingerprint,
        run.record.get("dataset_fingerprint"),
        ours_name=source,
        theirs_name=str(run.folder / "evaluation.json"),
    )
    return samples


def figures(run: Run, samples: Samples, label: str) -> dict[str, Callable[[], Figure | None]]:
    """How each figure is drawn, by the first part of its file's name; ``None`` where there is nothing to draw."""
    drawn = read_drawn(run.folder)
    return {
        "training_curves": lambda: training_curves(run.log, run.validation, label),
        "retrieval_results": lambda: retrieval_results(samples, run.queries, label),
        "similarity_heatmap": lambda: similarity_heatmap(samples, drawn, label),
        "embedding_space": lambda: embedding_space(samples, drawn, label),
    }


NOTHING = {
    "training_curves": "no step log and no validation results in the run's folder",
    "embedding_space": f"fewer than {FEWEST} points, or all in one place",
}


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    run = read_run(args.run)
    label = args.name or run.method
    samples = evaluated_on(run, args)
    written = 0
    with styled():
        for name, make in figures(run, samples, label).items():
            figure = make()
            if figure is None:
                print(f"left out: {name} ({NOTHING[name]})", file=sys.stderr)
            else:
                print(save(figure, args.out / f"{name}_{file_label(label)}.png"))
                written += 1
    if not written:
        raise bad_input("nothing to draw", where=str(args.run))
    return Exit.OK
