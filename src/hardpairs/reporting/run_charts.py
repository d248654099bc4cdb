"""Choose the charts of a report: training by step, validation by epoch, SANW's weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from hardpairs.evaluating.runs import DIRECTIONS, Method, Run, starting_runs
from hardpairs.pages.charts import Chart, Line, line_chart
from hardpairs.training.logs import watched

ColoredRun = tuple[int, str, Run]
"""A run with its method's number, which chooses its color, and its method's label."""


def report_charts(methods: Sequence[Method]) -> list[Chart]:
    """Return all charts of a report that have something to show."""
    charts = [*_training_charts(methods), _weight_chart(methods), *_validation_charts(methods)]
    charts.append(_watch_chart(methods))
    return [chart for chart in charts if chart is not None]


def _training_charts(methods: Sequence[Method]) -> Iterable[Chart | None]:
    """Yield the loss of the runs that others start from, then what the others logged."""
    starts = starting_runs(methods)
    runs = [(i, method.label, run) for i, method in enumerate(methods) for run in method.runs]
    first = [entry for entry in runs if entry[2] in starts]
    rest = [entry for entry in runs if entry[2] not in starts]
    if first:
        yield line_chart(f"{first[0][1].capitalize()}: loss", _column(first, "loss"))
    name = "Continuations" if first else "Training"
    for title, column, note in (
        (
            f"{name}: loss",
            "loss",
            "Losses of different batches or weights cannot be compared: harder batches have a "
            "higher loss.",
        ),
        (f"{name}: learning rate", "lr", ""),
        (f"{name}: logit scale (1 / temperature)", "temp", ""),
        ("SANW: mean weight of a negative", "w_mean", "1 is CLIP's own loss."),
        ("SANW: negatives with hardly any weight, %", "w_low_pct", ""),
        ("SANW: negatives with nearly full weight, %", "w_high_pct", ""),
    ):
        yield line_chart(title, _column(rest, column), note=note)


def _column(runs: Iterable[ColoredRun], column: str) -> list[Line]:
    return [
        (color, label, run.log["step"], run.log[column])
        for color, label, run in runs
        if column in run.log
    ]


def _weight_chart(methods: Sequence[Method]) -> Chart | None:
    """Chart SANW's weights in each method's first run; the last epoch first, earlier ones thin."""
    lines: list[Line] = []
    for color, method in enumerate(methods):
        for epoch, shares in sorted(method.first.weights.items(), reverse=True):
            centers = (np.arange(len(shares)) + 0.5) / len(shares)
            lines.append((color, f"{method.label}, epoch {epoch}", centers, 100 * shares))
    several = len(lines) > len({color for color, *_ in lines})
    return line_chart(
        "SANW: negatives by their weight, %",
        lines,
        note="Thin lines are earlier epochs." if several else "",
        x_label="weight",
        whole=False,
    )


def _validation_charts(methods: Sequence[Method]) -> Iterable[Chart | None]:
    """Yield R@1 on validation data by epoch, where OpenCLIP evaluated while training.

    A run that others start from is a dot at their epoch 0.
    """
    starts = starting_runs(methods)
    for direction, arrow in DIRECTIONS.items():
        key, lines = f"{direction}_R@1", []
        for color, method in enumerate(methods):
            for run in method.runs:
                points = [(e["epoch"], 100 * e[key]) for e in run.validation if key in e]
                if run in starts and points:
                    points = [(0.0, points[-1][1])]
                x, y = np.array(points, np.float64).reshape(-1, 2).T
                lines.append((color, method.label, x, y))
        yield line_chart(f"Validation R@1, {arrow}, %", lines, x_label="epoch")


def _watch_chart(methods: Sequence[Method]) -> Chart | None:
    """Chart what the runs measured on a second data set by epoch, from the start model on."""
    lines: list[Line] = []
    for color, method in enumerate(methods):
        for run in method.runs:
            values = [(entry["epoch"], watched(entry)) for entry in run.validation]
            points = [(epoch, 100 * value) for epoch, value in values if value is not None]
            x, y = np.array(points, np.float64).reshape(-1, 2).T
            lines.append((color, method.label, x, y))
    note = "Epoch 0 is the start model. Top-1 accuracy of classes, or R@1 of pairs."
    return line_chart("Watched data, %", lines, note=note, x_label="epoch")
