"""Lay out the mean and spread of methods over seeds, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hardpairs.evaluating.methods import METRICS
from hardpairs.evaluating.runs import DIRECTIONS, Method
from hardpairs.evaluating.spread import MINICLIP, Spread, shared_record, spread
from hardpairs.evaluating.tables import markdown_table
from hardpairs.pages.numbers import value_text


def repeated_seeds(methods: Sequence[Method]) -> list[str]:
    """Return a warning for each seed that a method has twice: its spread is not over seeds."""
    return [
        f"{method.name} has several runs with seed {seed}; evaluate each with its own seed"
        for method in methods
        for seed, count in Counter(run.seed for run in method.runs).items()
        if count > 1
    ]


def spread_record(methods: Sequence[Method]) -> dict[str, Any]:
    """Return what comparison.json holds."""
    first = methods[0].first.record
    return {
        "methods": {
            method.name: {
                "seeds": [run.seed for run in method.runs],
                "runs": [str(run.folder) for run in method.runs],
                "metrics": {
                    name: {"mean": value.mean, "sd": value.sd, "values": list(value.values)}
                    for name, value in spread(method).items()
                },
            }
            for method in methods
        },
        "baselines": shared_record(methods, "baselines"),
        "ceiling": shared_record(methods, "ceiling"),
        "miniclip": {
            name: shared_record(methods, "miniclip", name)
            for name in ("random", "bag_of_words", "ceiling")
        },
        "dataset_fingerprint": first.get("dataset_fingerprint"),
        "ties": first.get("ties"),
    }


def columns(methods: Sequence[Method]) -> list[tuple[str, str, str]]:
    """Return the metrics that some method has: ours in both directions, then MiniCLIP's.

    Returns:
        (name, heading, unit) of each.
    """
    known = {name for method in methods for name in spread(method)}
    ours = [
        (f"{direction}_{metric.suffix}", f"{arrow} {metric.label}", metric.unit)
        for direction, arrow in DIRECTIONS.items()
        for metric in METRICS
    ]
    theirs = [(f"miniclip.{name}", f"MiniCLIP {name}", unit) for name, unit in MINICLIP.items()]
    return [column for column in ours + theirs if column[0] in known]


def spread_csv(methods: Sequence[Method]) -> str:
    """Return a line for each method and metric; shares are fractions, MiniCLIP's are percent."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "runs", "metric", "mean", "sd"])
    for method in methods:
        values = spread(method)
        for name, *_ in columns(methods):
            if name in values:
                value = values[name]
                writer.writerow([method.name, len(method.runs), name, value.mean, value.sd])
    return text.getvalue()


def spread_markdown(methods: Sequence[Method]) -> str:
    """Return a table with a row for each metric and a column for each method.

    Columns of chance and the ceiling follow where they were measured.
    """
    spreads = [spread(method) for method in methods]
    others = {
        "random": _shared(methods, "random", "baselines", "random"),
        "ceiling": _shared(methods, "ceiling", "ceiling"),
    }
    others = {name: values for name, values in others.items() if values}
    rows = [["", *(f"{method.label} (n = {len(method.runs)})" for method in methods), *others]]
    for name, heading, unit in columns(methods):
        cells = [spread_text(each[name], unit) if name in each else "" for each in spreads]
        cells += [
            _value_text(values[name], unit) if name in values else "" for values in others.values()
        ]
        rows.append([heading, *cells])
    return "\n".join([*markdown_table(rows, numbers_right=False), ""])


def _shared(methods: Sequence[Method], name: str, *path: str) -> dict[str, Any]:
    """Return what stands beside every method, by the names of ``columns``, in both protocols."""
    theirs = shared_record(methods, "miniclip", name)
    return {
        **shared_record(methods, *path),
        **{f"miniclip.{metric}": value for metric, value in theirs.items()},
    }


def spread_text(value: Spread, unit: str) -> str:
    """Return a cell such as ``45.3 ± 0.2``; the mean alone for one run.

    Args:
        value: The spread of a metric.
        unit: ``share`` (shown as percent), ``percent``, ``score`` or ``rank``.
    """
    text = _value_text(value.mean, unit)
    if value.sd is None:
        return text
    return f"{text} ± {f'{value.sd:.1f}' if unit == 'rank' else _value_text(value.sd, unit)}"


def _value_text(value: float, unit: str) -> str:
    return value_text(value / 100, "share") if unit == "percent" else value_text(value, unit)
