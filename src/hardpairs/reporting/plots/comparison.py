"""Several methods side by side, mean and spread over seeds, between chance and the ceiling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hardpairs.evaluating.runs import DIRECTIONS, Method
from hardpairs.reporting.plots.style import INK, SERIES, lines_of, mark, new_figure
from hardpairs.reporting.spread import reference, spread, spread_text

SHOWN = {
    "R@1": ("R@1, %", "share"),
    "R@5": ("R@5, %", "share"),
    "R@10": ("R@10, %", "share"),
    "MRR": ("MRR", "score"),
}
GAP = 1.15
"""Rows that a metric's name takes above its methods."""


def metrics_comparison(methods: Sequence[Method]) -> Figure:
    """Two panels, text to image first: a bar for each method's mean, a whisker for its standard deviation, a dot for each run.

    A line for each method, so that names and numbers have room whatever their number.
    """
    figure = new_figure(0.75 + 0.21 * len(SHOWN) * (len(methods) + GAP))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, direction in zip(panels, reversed(DIRECTIONS), strict=True):
        _panel(axes, methods, direction)
    names = [lines_of(method.label, 26, 1) for method in methods]
    panels[0].set_yticks(
        [place for group in range(len(SHOWN)) for place in _places(group, len(methods))],
        names * len(SHOWN),
        fontsize=8,
    )
    lines = (
        ["Line: the ceiling that repeated captions impose. Dotted: random order."]
        if reference(methods, "ceiling")
        else []
    )
    if any(len(method.runs) > 1 for method in methods):
        counts = sorted({len(method.runs) for method in methods if len(method.runs) > 1})
        lines.append(
            f"Whiskers: one standard deviation over {' or '.join(map(str, counts))} seeds; points: single runs."
        )
    if any(len(method.runs) == 1 for method in methods):
        lines.append(
            "A bar without a whisker is one run: how far another seed would move it is not known."
        )
    mark(panels[0], lines)
    return figure


def _places(group: int, methods: int) -> np.ndarray:
    """Heights of a metric's bars, downwards."""
    return group * (methods + GAP) + np.arange(methods)


def _panel(axes: Axes, methods: Sequence[Method], direction: str) -> None:
    found = [spread(method) for method in methods]
    for group, (metric, (heading, unit)) in enumerate(SHOWN.items()):
        places = _places(group, len(methods))
        axes.text(0, places[0] - 0.62, heading, va="bottom", fontsize=8.5, fontweight="bold")
        for number, (place, of_method) in enumerate(zip(places, found, strict=True)):
            part = of_method[f"{direction}_{metric}"]
            axes.barh(place, 100 * part.mean, 0.74, color=SERIES[number % len(SERIES)])
            if part.sd is not None:
                axes.errorbar(
                    100 * part.mean,
                    place,
                    xerr=100 * part.sd,
                    fmt="none",
                    ecolor=INK,
                    elinewidth=1.0,
                    capsize=2.2,
                )
                axes.plot(
                    100 * np.array(part.values),
                    np.full(len(part.values), place),
                    "o",
                    color=INK,
                    markersize=2.2,
                    markeredgewidth=0,
                )
            axes.text(
                1.02,
                place,
                spread_text(part, unit),
                transform=axes.get_yaxis_transform(),
                va="center",
                fontsize=8,
            )
        for path, style in ((("ceiling",), "-"), (("baselines", "random"), ":")):
            if (value := reference(methods, *path).get(f"{direction}_{metric}")) is not None:
                ends = places[0] - 0.5, places[-1] + 0.5
                if (
                    value > 0.03
                ):  # so that it is seen on a bar, too; nearer to 0 it would cut the bar off from its axis
                    axes.vlines(100 * value, *ends, color="white", linewidth=2.6)
                axes.vlines(100 * value, *ends, color=INK, linewidth=1.4, linestyle=style)
    axes.set_title(DIRECTIONS[direction], pad=4)
    axes.set(
        xlim=(0, 100.8),
        xticks=range(0, 101, 20),
        ylim=(_places(len(SHOWN) - 1, len(methods))[-1] + 0.7, -1.5),
    )
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
