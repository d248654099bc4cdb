"""Charts as plain numbers: a template draws them, so that they follow the page's colours and width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hardpairs.evaluating.compare import HEADLINE, METRICS, Comparison, Difference
from hardpairs.evaluating.runs import DIRECTIONS, Method, Run
from hardpairs.pages.numbers import MINUS

MAX_POINTS = 400
"""Points of a line beyond which neighbours are averaged: more cannot be seen."""

CONTINUED = "Continuations"


@dataclass(frozen=True)
class Line:
    """A line in a box of 100 by 100, y growing downwards. ``path`` is that of SVG; ``colour`` numbers the method."""

    path: str
    colour: int
    label: str
    is_first: bool
    dot: tuple[float, float] | None = None


@dataclass(frozen=True)
class Chart:
    """Lines with their ticks, (place in percent, text) each."""

    title: str
    note: str
    x_label: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


@dataclass(frozen=True)
class Interval:
    """One row of the interval plot; places in percent of its width."""

    colour: int
    label: str
    left: float
    width: float
    centre: float
    difference: Difference


@dataclass(frozen=True)
class Intervals:
    """Differences to the reference with their intervals, by metric."""

    rows: list[tuple[str, list[Interval]]]
    ticks: list[tuple[float, str]]
    zero: float


def ticks(low: float, high: float, *, most: int = 5, whole: bool = False) -> list[float]:
    """Round numbers inside a range, about ``most`` of them; ``whole`` ones for what is counted.

    Example:
        >>> ticks(0.0, 10.0)
        [0.0, 2.5, 5.0, 7.5, 10.0]
    """
    if not high > low:
        return [low]
    size = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(
        size * factor for factor in (1, 2, 2.5, 5, 10, 20) if (high - low) / (size * factor) < most
    )
    step = math.ceil(step) if whole else step
    return [
        round(i * step, 12)
        for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]


def tick_text(value: float) -> str:
    """``1,000``, ``.5``, ``2e-05``: as short as it can be."""
    if value and abs(value) < 0.001:
        return f"{value:.0e}".replace("e-0", "e-")
    text = f"{abs(value):,.4f}".rstrip("0").rstrip(".")
    return (MINUS if value < 0 else "") + (
        text.removeprefix("0") if text.startswith("0.") else text
    )


def line_chart(
    title: str,
    series: Sequence[tuple[int, str, np.ndarray, np.ndarray]],
    *,
    note: str = "",
    x_label: str = "step",
    whole: bool = True,
) -> Chart | None:
    """A chart of (colour, label, x, y) series, from 0 up where the values come near it; ``None`` when there is nothing but zeros.

    ``whole``: the x axis counts something.
    """
    series = [
        (colour, label, *_thin(x[np.isfinite(y)], y[np.isfinite(y)]))
        for colour, label, x, y in series
    ]
    series = [entry for entry in series if len(entry[2])]
    if not any(y.any() for *_, y in series):
        return None
    x_low, x_high = min(x.min() for *_, x, _ in series), max(x.max() for *_, x, _ in series)
    y_low, y_high = min(y.min() for *_, y in series), max(y.max() for *_, y in series)
    if 0 < y_low < 0.5 * y_high:
        y_low = 0.0
    margin = 0.06 * (y_high - y_low) or abs(y_high) * 0.1 or 1.0
    y_low, y_high = (y_low if y_low == 0 else y_low - margin), y_high + margin

    def place(x: np.ndarray | float, y: np.ndarray | float) -> tuple:
        return 100 * (x - x_low) / (x_high - x_low or 1), 100 * (y_high - y) / (y_high - y_low)

    lines, seen = [], set()
    for colour, label, x, y in series:
        points = list(zip(*place(x, y), strict=True))
        path = "M" + "L".join(f"{px:.2f} {py:.2f}" for px, py in points)
        lines.append(
            Line(path, colour, label, colour not in seen, points[0] if len(points) == 1 else None)
        )
        seen.add(colour)
    x_ticks = [
        (float(place(tick, 0)[0]), tick_text(tick)) for tick in ticks(x_low, x_high, whole=whole)
    ]
    y_ticks = [(float(place(0, tick)[1]), tick_text(tick)) for tick in ticks(y_low, y_high)]
    return Chart(title, note, x_label, lines, x_ticks, y_ticks)


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(x) <= MAX_POINTS:
        return x, y
    parts = np.array_split(np.arange(len(x)), MAX_POINTS)
    return np.array([x[part].mean() for part in parts]), np.array(
        [y[part].mean() for part in parts]
    )


def starting_runs(methods: Sequence[Method]) -> list[Run]:
    """Runs whose checkpoints other runs started from."""
    starts = [str(run.params.get("pretrained") or "") for method in methods for run in method.runs]
    return [
        run
        for m in methods
        for run in m.runs
        if any(f"/{run.folder.resolve().name}/checkpoints/" in f"/{start}" for start in starts)
    ]


def training_charts(methods: Sequence[Method]) -> list[Chart]:
    """Loss of the runs that others start from, then loss, learning rate, temperature and weights of the others."""
    starts = starting_runs(methods)
    first = [(i, m.label, run) for i, m in enumerate(methods) for run in m.runs if run in starts]
    rest = [(i, m.label, run) for i, m in enumerate(methods) for run in m.runs if run not in starts]
    name = CONTINUED if first else "Training"
    wanted = [
        (f"{first[0][1].capitalize() if first else ''}: loss", first, "loss", ""),
        (
            f"{name}: loss",
            rest,
            "loss",
            "Losses of different batches or weights cannot be compared: harder batches have a higher loss.",
        ),
        (f"{name}: learning rate", rest, "lr", ""),
        (f"{name}: logit scale (1 / temperature)", rest, "temp", ""),
        ("SANW: mean weight of a negative", rest, "w_mean", "1 is CLIP's own loss."),
        ("SANW: negatives with hardly any weight, %", rest, "w_low_pct", ""),
        ("SANW: negatives with nearly full weight, %", rest, "w_high_pct", ""),
    ]
    charts = [
        line_chart(title, _column(runs, column), note=note) for title, runs, column, note in wanted
    ]
    return [chart for chart in charts if chart is not None]


def weight_chart(methods: Sequence[Method]) -> list[Chart]:
    """How SANW's weights are distributed, in the last epoch of each method's first run, and thinner in the epochs before."""
    series = []
    for colour, method in enumerate(methods):
        for epoch, shares in sorted(method.first.weights.items(), reverse=True):
            centres = (np.arange(len(shares)) + 0.5) / len(shares)
            series.append((colour, f"{method.label}, epoch {epoch}", centres, 100 * shares))
    note = (
        "Thin lines are earlier epochs."
        if len(series) > len({colour for colour, *_ in series})
        else ""
    )
    chart = (
        line_chart(
            "SANW: negatives by their weight, %", series, note=note, x_label="weight", whole=False
        )
        if series
        else None
    )
    return [] if chart is None else [chart]


def _column(
    runs: Sequence[tuple[int, str, Run]], column: str
) -> list[tuple[int, str, np.ndarray, np.ndarray]]:
    return [
        (colour, label, run.log["step"], run.log[column])
        for colour, label, run in runs
        if column in run.log
    ]


def validation_charts(methods: Sequence[Method]) -> list[Chart]:
    """R@1 on validation data by epoch, where OpenCLIP evaluated while training; a run that others start from stands at their epoch 0."""
    charts, starts = [], starting_runs(methods)
    for direction, arrow in DIRECTIONS.items():
        series = []
        for colour, method in enumerate(methods):
            for run in method.runs:
                found = [
                    (entry["epoch"], 100 * entry[f"{direction}_R@1"])
                    for entry in run.validation
                    if f"{direction}_R@1" in entry
                ]
                found = [(0.0, found[-1][1])] if run in starts and found else found
                points = np.array(found, np.float64).reshape(-1, 2)
                series.append((colour, method.label, points[:, 0], points[:, 1]))
        charts.append(line_chart(f"Validation R@1, {arrow}, %", series, x_label="epoch"))
    return [chart for chart in charts if chart is not None]


def intervals(comparison: Comparison) -> Intervals | None:
    """The headline differences of every method with their 95 % intervals, in points, on one scale."""
    by_name = {
        f"{direction}_{m.suffix}": f"{m.label}, {arrow}"
        for m in METRICS
        for direction, arrow in DIRECTIONS.items()
    }
    found = []
    for key in HEADLINE:
        for colour, method in enumerate(comparison.methods):
            d = comparison.differences.get(method.name, {}).get(key)
            if d is not None and d.low is not None and d.high is not None:
                found.append((by_name[key], colour, method.label, d, 100 * d.low, 100 * d.high))
    if not found:
        return None
    low, high = min(0.0, *(entry[4] for entry in found)), max(0.0, *(entry[5] for entry in found))
    margin = 0.04 * (high - low) or 1.0
    low, high = low - margin, high + margin

    def place(points: float) -> float:
        return 100 * (points - low) / (high - low)

    rows: dict[str, list[Interval]] = {}
    for name, colour, label, d, left, right in found:
        interval = Interval(
            colour, label, place(left), place(right) - place(left), place(100 * d.value), d
        )
        rows.setdefault(name, []).append(interval)
    return Intervals(
        list(rows.items()),
        [(place(tick), tick_text(tick)) for tick in ticks(low, high)],
        place(0.0),
    )


def histogram(values: np.ndarray, *, bins: int = 24) -> list[tuple[float, str]]:
    """Bars as (height in percent of the highest, what they count)."""
    counts, edges = np.histogram(values, bins=bins, range=(0.0, 1.0))
    return [
        (100 * count / max(counts.max(), 1), f"{low:.2f} to {high:.2f}: {count:,}")
        for count, low, high in zip(counts.tolist(), edges[:-1], edges[1:], strict=True)
    ]
