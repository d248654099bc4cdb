"""Draw methods side by side, mean and spread over seeds, between chance and the ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hardpairs.evaluating.runs import DIRECTIONS, Method
from hardpairs.evaluating.spread import Spread, shared_record, spread
from hardpairs.pages.charts import INK, SERIES, footnote, lines_of, new_figure
from hardpairs.reporting.spread_table import spread_text

SHOWN = {
    "R@1": ("R@1, %", "share"),
    "R@5": ("R@5, %", "share"),
    "R@10": ("R@10, %", "share"),
    "MRR": ("MRR", "score"),
}
GAP = 1.15
"""Rows that a metric's name takes above its methods."""


def metrics_comparison(methods: Sequence[Method]) -> Figure:
    """Draw two panels, text to image first.

    Each method has a line of its own, so that names and numbers have room: a bar for the mean, a
    whisker for the standard deviation, a dot for each run.
    """
    figure = new_figure(0.75 + 0.21 * len(SHOWN) * (len(methods) + GAP))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, direction in zip(panels, reversed(DIRECTIONS), strict=True):
        _draw_panel(axes, methods, direction)
    panels[0].set_yticks(
        np.concatenate([_heights(number, len(methods)) for number in range(len(SHOWN))]),
        [lines_of(method.label, 26, 1) for method in methods] * len(SHOWN),
        fontsize=8,
    )
    footnote(figure, _notes(methods))
    return figure


def _notes(methods: Sequence[Method]) -> list[str]:
    notes = []
    if shared_record(methods, "ceiling"):
        notes.append("Line: the ceiling that repeated captions impose. Dotted: random order.")
    counts = sorted({len(method.runs) for method in methods})
    if several := [str(count) for count in counts if count > 1]:
        seeds = " or ".join(several)
        notes.append(f"Whiskers: one standard deviation over {seeds} seeds; points: single runs.")
    if 1 in counts:
        notes.append(
            "A bar without a whisker is one run: how far another seed would move it is not known."
        )
    return notes


def _heights(metric: int, methods: int) -> np.ndarray:
    """Return the heights of a metric's bars, downwards."""
    return metric * (methods + GAP) + np.arange(methods)


def _draw_panel(axes: Axes, methods: Sequence[Method], direction: str) -> None:
    spreads = [spread(method) for method in methods]
    for number, (metric, (heading, unit)) in enumerate(SHOWN.items()):
        name, heights = f"{direction}_{metric}", _heights(number, len(methods))
        axes.text(0, heights[0] - 0.62, heading, va="bottom", fontsize=8.5, fontweight="bold")
        for color, (height, by_metric) in enumerate(zip(heights, spreads, strict=True)):
            _draw_bar(axes, height, by_metric[name], unit, SERIES[color % len(SERIES)])
        for path, style in ((("ceiling",), "-"), (("baselines", "random"), ":")):
            value = shared_record(methods, *path).get(name)
            if value is not None:
                ends = heights[0] - 0.5, heights[-1] + 0.5
                # White behind the line shows it on a bar; near 0 it would cut the bar off its axis.
                if value > 0.03:
                    axes.vlines(100 * value, *ends, color="white", linewidth=2.6)
                axes.vlines(100 * value, *ends, color=INK, linewidth=1.4, linestyle=style)
    axes.set_title(DIRECTIONS[direction], pad=4)
    axes.set(
        xlim=(0, 100.8),
        xticks=range(0, 101, 20),
        ylim=(_heights(len(SHOWN) - 1, len(methods))[-1] + 0.7, -1.5),
    )
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)


def _draw_bar(axes: Axes, height: float, value: Spread, unit: str, color: str) -> None:
    mean = 100 * value.mean
    axes.barh(height, mean, 0.74, color=color)
    if value.sd is not None:
        look: dict[str, Any] = {"ecolor": INK, "elinewidth": 1.0, "capsize": 2.2}
        axes.errorbar(mean, height, xerr=100 * value.sd, fmt="none", **look)
        runs = 100 * np.array(value.values)
        heights = np.full(len(runs), height)
        axes.plot(runs, heights, "o", color=INK, markersize=2.2, markeredgewidth=0)
    at = axes.get_yaxis_transform()
    axes.text(1.02, height, spread_text(value, unit), transform=at, va="center", fontsize=8)
