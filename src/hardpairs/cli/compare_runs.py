"""Compares evaluated runs: mean and standard deviation over seeds of each method, as a table, files and a figure.

    python -m tools.compare_runs runs/lstm-* runs/transformer-* --out results

Runs evaluated with one --method are seeds of it. Prints the table; writes FOLDER/comparison.json, .csv and .md, and MiniCLIP's
metrics_comparison.png (also under its other name, model_comparison.png). For tests of the differences: ``python -m tools.report``.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.atomic import write_json, write_text
from hardpairs.core.errors import Exit
from hardpairs.evaluating.runs import Method, read_methods
from hardpairs.reporting.plots.comparison import metrics_comparison
from hardpairs.reporting.plots.style import save, styled
from hardpairs.reporting.spread import columns, markdown, reference, spread

FIGURES = ("metrics_comparison.png", "model_comparison.png")
"""The seed's README shows the one, its code writes the other."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hardpairs compare-runs", description="Mean and spread of evaluated runs."
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folder that tools.evaluate wrote into"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="also writes the table as JSON, CSV and Markdown, and the figure",
    )
    return parse_arguments(parser, "compare-runs", argv)


def repeated_seeds(methods: Sequence[Method]) -> list[str]:
    """What to say of methods that have a seed twice: their spread is not one over seeds."""
    found = []
    for method in methods:
        twice = [
            seed for seed, count in Counter(run.seed for run in method.runs).items() if count > 1
        ]
        found += [
            f"{method.name} has several runs with seed {seed}; evaluate each with its own --seed"
            for seed in twice
        ]
    return found


def record(methods: Sequence[Method]) -> dict[str, Any]:
    """What comparison.json holds."""
    return {
        "methods": {
            method.name: {
                "seeds": [run.seed for run in method.runs],
                "runs": [str(run.folder) for run in method.runs],
                "metrics": {
                    name: {"mean": s.mean, "sd": s.sd, "values": list(s.values)}
                    for name, s in spread(method).items()
                },
            }
            for method in methods
        },
        "baselines": reference(methods, "baselines"),
        "ceiling": reference(methods, "ceiling"),
        "miniclip": {
            name: reference(methods, "miniclip", name)
            for name in ("random", "bag_of_words", "ceiling")
        },
        "dataset_fingerprint": methods[0].first.record.get("dataset_fingerprint"),
        "ties": methods[0].first.record.get("ties"),
    }


def table_csv(methods: Sequence[Method]) -> str:
    """A line for each method and metric: method,runs,metric,mean,sd; shares are fractions, MiniCLIP's are percent."""
    lines = ["method,runs,metric,mean,sd"]
    for method in methods:
        found = spread(method)
        quoted = '"' + method.name.replace('"', '""') + '"'
        for name, *_ in columns(methods):
            if name in found:
                lines.append(
                    f"{quoted},{len(method.runs)},{name},{found[name].mean},{'' if found[name].sd is None else found[name].sd}"
                )
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    methods = read_methods(args.runs)
    for warning in repeated_seeds(methods):
        print(f"warning: {warning}", file=sys.stderr)
    table = markdown(methods)
    if args.out:
        write_json(args.out / "comparison.json", record(methods))
        write_text(args.out / "comparison.csv", table_csv(methods))
        write_text(args.out / "comparison.md", table)
        with styled():
            for name in FIGURES:
                save(metrics_comparison(methods), args.out / name)
        print(f"comparison: {args.out / 'comparison.json'}", file=sys.stderr)
    print(table, end="")
    return Exit.OK
