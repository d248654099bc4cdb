"""Lay out the results as text for the terminal, and as numbers for other programs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable
from typing import Any

from hardpairs.evaluating.methods import METRICS, Comparison, Difference, Metric
from hardpairs.evaluating.runs import DIRECTIONS, Method, direction_of
from hardpairs.pages.numbers import MINUS, difference_text, p_text, value_text

TERMINAL_METRICS = ("R@1", "R@5", "MRR", "beats_hard_pairs")
PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "open_clip": "open_clip_torch",
    "timm": "timm",
    "img2dataset": "img2dataset",
    "webdataset": "webdataset",
    "numpy": "numpy",
    "pyarrow": "pyarrow",
    "pillow": "Pillow",
}
_SHORT = {"beats_hard_pairs": "beats its pairs"}
_ARROWS = {"image_to_text": "img>txt", "text_to_image": "txt>img"}

Column = tuple[Metric, str]
"""A metric and its name with a direction."""


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter, and the machine in words."""
    installed = {"python": platform.python_version()}
    for name, package in PACKAGES.items():
        try:
            installed[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        **installed,
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
    }


def summary(
    comparison: Comparison, *, seconds: dict[str, float], pair_statistics: dict[str, Any]
) -> dict[str, Any]:
    """Return what the summary file holds: means over seeds by method, and all other numbers.

    Args:
        comparison: The methods.
        seconds: Duration of each step.
        pair_statistics: Statistics of the training table; empty without one.
    """
    result: dict[str, Any] = {name: dict(values) for name, values in comparison.values.items()}
    if comparison.several_seeds:
        result["spread"] = comparison.spread
    return {
        **result,
        "seconds": seconds,
        "mined": pair_statistics,
        "versions": versions(),
        "tests": tests(comparison),
    }


def tests(comparison: Comparison) -> dict[str, Any]:
    """Return the paired tests: each difference with its p-value and 95 % interval, as fractions."""
    if comparison.reference is None:
        return {}
    by_method = {
        method: {
            key: {
                "difference": difference.value,
                "p": difference.p,
                "low": difference.low,
                "high": difference.high,
                "by_seed": list(difference.by_seed),
            }
            for key, difference in differences.items()
            if difference.p is not None
        }
        for method, differences in comparison.differences.items()
    }
    return {"reference": comparison.reference.name, "methods": by_method}


def terminal_table(comparison: Comparison) -> str:
    """Return a table with a row for each method, its difference to the reference and p-value."""
    metrics = [metric for metric in METRICS if metric.suffix in TERMINAL_METRICS]
    columns: list[Column] = [
        (metric, key)
        for metric in metrics
        for direction in DIRECTIONS
        if comparison.has(key := f"{direction}_{metric.suffix}")
    ]
    rows = [["", *(_ARROWS[direction_of(key)] for _, key in columns)]]
    for method in comparison.methods:
        rows += _method_rows(comparison, method, columns)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    head = _head(metrics, columns, widths)
    return "\n".join([head, *(_line(row, widths) for row in rows)])


def _method_rows(comparison: Comparison, method: Method, columns: list[Column]) -> list[list[str]]:
    """Return values; where known also spread between seeds, differences and p-values."""

    def row(name: str, cell: Callable[[Metric, str], str]) -> list[str]:
        return [name, *(cell(metric, key) for metric, key in columns)]

    def numbers(name: str, values: dict[str, float], absent: str) -> list[str]:
        return row(
            name,
            lambda metric, key: value_text(values[key], metric.unit) if key in values else absent,
        )

    rows = [numbers(method.label, comparison.values[method.name], "-")]
    if spread := comparison.spread.get(method.name):
        rows.append(numbers(f"  sd over {len(method.runs)} seeds", spread, ""))
    differences = comparison.differences.get(method.name)
    if differences and comparison.reference is not None:
        rows.append(
            row(
                f"  minus {comparison.reference.name}",
                lambda metric, key: _difference(differences.get(key), metric.unit),
            )
        )
        rows.append(row("  p", lambda _, key: _p(differences.get(key))))
    return rows


def _difference(difference: Difference | None, unit: str) -> str:
    return difference_text(difference.value, unit).replace(MINUS, "-") if difference else ""


def _p(difference: Difference | None) -> str:
    return p_text(difference.p).replace(" ", "") if difference and difference.p is not None else ""


def _head(metrics: list[Metric], columns: list[Column], widths: list[int]) -> str:
    """Return the metrics' names, each over its columns."""
    head = " " * widths[0]
    for metric in metrics:
        span = sum(
            width + 2
            for (owner, _), width in zip(columns, widths[1:], strict=True)
            if owner is metric
        )
        label = _SHORT.get(metric.suffix, metric.label) + (" %" if metric.unit == "share" else "")
        if span:
            head += label.rjust((span + len(label) + 2) // 2).ljust(span)
    return head.rstrip()


def _line(row: list[str], widths: list[int]) -> str:
    name, *cells = row
    return name.ljust(widths[0]) + "".join(
        "  " + cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)
    )
