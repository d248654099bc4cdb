"""Several methods side by side, mean and spread over seeds, between chance and the ceiling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tools.plotting.style import INK, SERIES, SOFT, light_grid, lines_of, mark, new_figure
from tools.reporting.runs import DIRECTIONS, Method
from tools.reporting.spread import reference, spread

SHOWN = {"R@1": "R@1", "R@5": "R@5", "R@10": "R@10", "MRR": "MRR × 100"}
HATCHES = ("", "//", "..", "\\\\", "xx", "--", "++", "oo")
GROUP = 0.82
"""Share of a group's place that its bars take."""


def metrics_comparison(methods: Sequence[Method]) -> Figure:
    """Two panels, text to image first: bars are means over a method's runs, whiskers their standard deviation, dots the runs."""
    wide = len(methods) > 4
    figure = new_figure(3.3 if not wide else 6.2)
    panels = figure.subplots(*((2, 1) if wide else (1, 2)), squeeze=False, sharey=True).ravel()
    for axes, direction in zip(panels, reversed(DIRECTIONS), strict=True):
        _panel(axes, methods, direction)
    panels[0].set_ylabel("percent")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=min(4, len(labels)), handlelength=1.4, columnspacing=1.2, fontsize=8.5)
    notes = ["Whiskers: one standard deviation over seeds. Dots: single runs."] if any(len(method.runs) > 1 for method in methods) else []
    mark(
        panels[0],
        [*notes, "Bars without whiskers are one run: a difference between such bars may be the luck of a seed."][
            : 2 if _alone(methods) else 1
        ],
    )
    return figure


def _alone(methods: Sequence[Method]) -> bool:
    return any(len(method.runs) == 1 for method in methods)


def _panel(axes: Axes, methods: Sequence[Method], direction: str) -> None:
    width = GROUP / len(methods)
    for place, method in enumerate(methods):
        found = spread(method)
        at = np.arange(len(SHOWN)) - GROUP / 2 + (place + 0.5) * width
        parts = [found[f"{direction}_{name}"] for name in SHOWN]
        means = np.array([100 * part.mean for part in parts])
        label = lines_of(method.label, 40, 1) + (f" ({len(method.runs)} seeds)" if len(method.runs) > 1 else "")
        colour = SERIES[place % len(SERIES)]
        axes.bar(at, means, 0.9 * width, color=colour, edgecolor="white", linewidth=0.5, hatch=HATCHES[place % len(HATCHES)], label=label)
        tops = means.copy()
        if len(method.runs) > 1:
            deviation = np.array([100 * (part.sd or 0) for part in parts])
            axes.errorbar(at, means, deviation, fmt="none", ecolor=INK, elinewidth=0.9, capsize=2)
            values = 100 * np.array([part.values for part in parts])
            axes.plot(np.repeat(at, len(method.runs)), values.ravel(), "o", color=INK, markersize=1.8, markeredgewidth=0)
            tops = np.maximum(means + deviation, values.max(axis=1))
        for x, mean, height in zip(at, means, tops, strict=True):
            axes.annotate(
                f"{mean:.1f}", (x, height), (0, 2), textcoords="offset points", ha="center", fontsize=8 if len(methods) < 4 else 6.5
            )
    _references(axes, methods, direction)
    axes.set(
        title=DIRECTIONS[direction], xticks=range(len(SHOWN)), xticklabels=SHOWN.values(), ylim=(0, 108), xlim=(-0.5, len(SHOWN) - 0.5)
    )
    axes.set_yticks(range(0, 101, 20))
    axes.tick_params(axis="x", length=0)
    light_grid(axes)


def _references(axes: Axes, methods: Sequence[Method], direction: str) -> None:
    """The ceiling and chance as lines across each group."""
    for name, path, style in (("ceiling", ("ceiling",), "-"), ("random", ("baselines", "random"), ":")):
        values = reference(methods, *path)
        label = {"ceiling": "ceiling (captions repeat)", "random": "random"}[name]
        for place, metric in enumerate(SHOWN):
            if (value := values.get(f"{direction}_{metric}")) is not None:
                axes.hlines(
                    100 * value,
                    place - 0.46,
                    place + 0.46,
                    color=INK if name == "ceiling" else SOFT,
                    linewidth=1.3,
                    linestyle=style,
                    label=label,
                )
                label = None
