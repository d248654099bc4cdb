"""The results as text for the terminal, and as numbers for other programs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable
from typing import Any

from hardpairs.evaluating.compare import METRICS, Comparison, Difference, Metric
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


def versions() -> dict[str, str]:
    """Versions of this environment: Python, the packages that matter, and the machine in words."""
    found = {"python": platform.python_version()}
    for name, package in PACKAGES.items():
        try:
            found[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        **found,
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
    }


def summary(
    comparison: Comparison, *, seconds: dict[str, float], mined: dict[str, Any]
) -> dict[str, Any]:
    """What ``--summary`` writes: means over seeds by method, their spread, and everything else that a script may want."""
    result: dict[str, Any] = {name: dict(values) for name, values in comparison.values.items()}
    if comparison.several_seeds:
        result["spread"] = comparison.spread
    return {
        **result,
        "seconds": seconds,
        "mined": mined,
        "versions": versions(),
        "tests": tests(comparison),
    }


def tests(comparison: Comparison) -> dict[str, Any]:
    """The paired tests: reference, and by method and metric the difference with its p-value and 95 % interval (fractions, not percent)."""
    if comparison.reference is None:
        return {}
    by_method = {
        method: {
            key: {
                "difference": d.value,
                "p": d.p,
                "low": d.low,
                "high": d.high,
                "by_seed": list(d.by_seed),
            }
            for key, d in differences.items()
            if d.p is not None
        }
        for method, differences in comparison.differences.items()
    }
    return {"reference": comparison.reference.name, "methods": by_method}


def terminal_table(comparison: Comparison) -> str:
    """Rows of methods, each with its difference to the reference and the p-value of the paired permutation test."""
    metrics = [metric for metric in METRICS if metric.suffix in TERMINAL_METRICS]
    columns = [
        (metric, f"{direction}_{metric.suffix}") for metric in metrics for direction in DIRECTIONS
    ]
    columns = [
        column
        for column in columns
        if any(column[1] in values for values in comparison.values.values())
    ]
    rows = [["", *(_ARROWS[direction_of(key)] for _, key in columns)]]
    for method in comparison.methods:
        rows += _method_rows(comparison, method, columns)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    head = _head(metrics, columns, widths)
    return "\n".join([head, *(_line(row, widths) for row in rows)])


def _method_rows(
    comparison: Comparison, method: Method, columns: list[tuple[Metric, str]]
) -> list[list[str]]:
    """Values, and where there are some: spread between seeds, differences to the reference, p-values."""

    def row(name: str, cell: Callable[[Metric, str], str]) -> list[str]:
        return [name, *(cell(metric, key) for metric, key in columns)]

    values, spread = comparison.values[method.name], comparison.spread.get(method.name)
    rows = [
        row(
            method.label,
            lambda metric, key: value_text(values[key], metric.unit) if key in values else "-",
        )
    ]
    if spread:
        name = f"  sd over {len(method.runs)} seeds"
        rows.append(
            row(
                name,
                lambda metric, key: value_text(spread[key], metric.unit) if key in spread else "",
            )
        )
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


def _head(metrics: list[Metric], columns: list[tuple[Metric, str]], widths: list[int]) -> str:
    """The metrics' names, each over its columns."""
    head = " " * widths[0]
    for metric in metrics:
        spanned = [
            width + 2
            for (owner, _), width in zip(columns, widths[1:], strict=True)
            if owner is metric
        ]
        label = _SHORT.get(metric.suffix, metric.label) + (" %" if metric.unit == "share" else "")
        head += (
            label.rjust((sum(spanned) + len(label) + 2) // 2).ljust(sum(spanned)) if spanned else ""
        )
    return head.rstrip()


def _line(row: list[str], widths: list[int]) -> str:
    return row[0].ljust(widths[0]) + "".join(
        "  " + cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)
    )
