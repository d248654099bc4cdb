"""Numbers over seeds: each method's mean and standard deviation, and the baselines that they share."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hardpairs.evaluating.compare import METRICS
from hardpairs.evaluating.results import numbers
from hardpairs.evaluating.runs import DIRECTIONS, Method, Run
from hardpairs.pages.numbers import value_text

MINICLIP = {"R@1": "percent", "R@5": "percent", "R@10": "percent", "MRR": "score", "MedR": "rank"}
"""MiniCLIP's five, in its units."""


@dataclass(frozen=True)
class Spread:
    """One number of one method over its runs: mean, standard deviation (n - 1; ``None`` for one run), and each run's, by run."""

    mean: float
    sd: float | None
    values: tuple[float, ...]


def measured(run: Run) -> dict[str, float]:
    """A run's own numbers by name, those of MiniCLIP's protocol as ``miniclip.R@1`` and so on."""
    found = run.record.get("miniclip")
    own = (
        {name: value for name, value in numbers(found) if name in MINICLIP}
        if isinstance(found, Mapping)
        else {}
    )
    return {**run.metrics, **{f"miniclip.{name}": float(value) for name, value in own.items()}}


def spread(method: Method) -> dict[str, Spread]:
    """Of each number that all runs of a method have."""
    found = [measured(run) for run in method.runs]
    shared = set.intersection(*map(set, found))
    return {
        name: spread_of([values[name] for values in found]) for name in found[0] if name in shared
    }


def spread_of(values: Sequence[float]) -> Spread:
    """Example:
    >>> spread_of([0.4, 0.5, 0.6])
    Spread(mean=0.5, sd=0.1, values=(0.4, 0.5, 0.6))
    """
    sd = round(statistics.stdev(values), 15) if len(values) > 1 else None
    return Spread(statistics.fmean(values), sd, tuple(values))


def reference(methods: Sequence[Method], *path: str) -> dict[str, Any]:
    """A part of the first record that has it, such as ``("baselines", "random")``: the same for all, since all asked the same; else {}."""
    for record in (run.record for method in methods for run in method.runs):
        part: Any = record
        for name in path:
            part = part.get(name) if isinstance(part, Mapping) else None
        if isinstance(part, Mapping):
            return dict(part)
    return {}


def columns(methods: Sequence[Method]) -> list[tuple[str, str, str]]:
    """(name, heading, unit) of what is shown: our metrics both ways, then MiniCLIP's, as far as any method has them."""
    known = {name for method in methods for name in spread(method)}
    ours = [
        (f"{direction}_{m.suffix}", f"{arrow} {m.label}", m.unit)
        for direction, arrow in DIRECTIONS.items()
        for m in METRICS
    ]
    theirs = [(f"miniclip.{name}", f"MiniCLIP {name}", unit) for name, unit in MINICLIP.items()]
    return [column for column in ours + theirs if column[0] in known]


def spread_text(found: Spread, unit: str) -> str:
    """``45.3 ± 0.2``, shares in percent; the mean alone for one run."""
    text = _value_text(found.mean, unit)
    if found.sd is None:
        return text
    return f"{text} ± {f'{found.sd:.1f}' if unit == 'rank' else _value_text(found.sd, unit)}"


def _value_text(value: float, unit: str) -> str:
    return value_text(value / 100, "share") if unit == "percent" else value_text(value, unit)


def _of_all(methods: Sequence[Method], name: str, *path: str) -> dict[str, Any]:
    """What stands beside every method, by the names of ``columns``: of our protocol, and of MiniCLIP's."""
    return {
        **reference(methods, *path),
        **{
            f"miniclip.{metric}": value
            for metric, value in reference(methods, "miniclip", name).items()
        },
    }


def markdown(methods: Sequence[Method]) -> str:
    """A table with a row for each metric and a column for each method; then baselines and ceiling, where they were measured."""
    found = {method.name: spread(method) for method in methods}
    others = {
        "random": _of_all(methods, "random", "baselines", "random"),
        "ceiling": _of_all(methods, "ceiling", "ceiling"),
    }
    others = {name: values for name, values in others.items() if values}
    head = ["", *(f"{method.label} (n = {len(method.runs)})" for method in methods), *others]
    rows = []
    for name, heading, unit in columns(methods):
        cells = [
            spread_text(found[method.name][name], unit) if name in found[method.name] else ""
            for method in methods
        ]
        rows.append(
            [
                heading,
                *cells,
                *(
                    _value_text(values[name], unit) if name in values else ""
                    for values in others.values()
                ),
            ]
        )
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [head, *rows]
    ]
    return "\n".join(
        [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:], ""]
    )
