"""Lay out the headline differences with their intervals, as bars on one scale."""

from __future__ import annotations

from dataclasses import dataclass

from hardpairs.evaluating.methods import HEADLINE, METRICS, Comparison, Difference
from hardpairs.evaluating.runs import DIRECTIONS
from hardpairs.pages.charts import tick_text, ticks


@dataclass(frozen=True)
class Interval:
    """A bar, with positions in percent of the scale's width.

    Attributes:
        color: Number of the method's color.
        label: Its name for readers.
        left: The left end.
        width: The width.
        center: The mean over seeds.
        seeds: The difference of each seed; empty for one.
        difference: The difference in numbers.
    """

    color: int
    label: str
    left: float
    width: float
    center: float
    seeds: list[float]
    difference: Difference


@dataclass(frozen=True)
class Intervals:
    """Differences to the reference in points, by metric.

    Attributes:
        rows: Name of each metric, with the bars of the methods.
        ticks: (position in percent of the width, text) of the scale.
        zero: Position of no difference, in percent of the width.
    """

    rows: list[tuple[str, list[Interval]]]
    ticks: list[tuple[float, str]]
    zero: float


def intervals(comparison: Comparison) -> Intervals | None:
    """Return the bars of every method; ``None`` when no difference has an interval."""
    names = {
        f"{direction}_{metric.suffix}": f"{metric.label}, {arrow}"
        for metric in METRICS
        for direction, arrow in DIRECTIONS.items()
    }
    tested = [
        (names[key], color, method.label, difference)
        for key in HEADLINE
        for color, method in enumerate(comparison.methods)
        if (difference := comparison.differences.get(method.name, {}).get(key)) is not None
        and difference.low is not None
        and difference.high is not None
    ]
    if not tested:
        return None
    ends = [100 * end for *_, d in tested for end in (d.low, d.high, *d.by_seed) if end is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    margin = 0.04 * (high - low) or 1.0
    low, high = low - margin, high + margin

    def position(points: float) -> float:
        return 100 * (points - low) / (high - low)

    rows: dict[str, list[Interval]] = {}
    for name, color, label, difference in tested:
        left, center, right = (
            position(100 * value)
            for value in (difference.low or 0.0, difference.value, difference.high or 0.0)
        )
        several = difference.by_seed if len(difference.by_seed) > 1 else ()
        seeds = [position(100 * value) for value in several]
        bar = Interval(color, label, left, right - left, center, seeds, difference)
        rows.setdefault(name, []).append(bar)
    scale = [(position(tick), tick_text(tick)) for tick in ticks(low, high)]
    return Intervals(list(rows.items()), scale, position(0.0))
