"""Draw training curves: the loss by step, and R@1 on validation pairs by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hardpairs.evaluating.runs import DIRECTIONS
from hardpairs.pages.charts import IMAGE, SERIES, SOFT, TEXT, light_grid, new_figure

SMOOTHED_FROM = 60
"""Logged steps from which on a running mean is drawn over the values."""

DOTTED_BELOW = 25
"""Logged steps up to which each is a dot."""

LOOK = {"image_to_text": (IMAGE, "-"), "text_to_image": (TEXT, "--")}
"""Color and style of a direction's line."""


def training_curves(
    log: Mapping[str, np.ndarray], validation: Sequence[Mapping[str, float]], label: str
) -> Figure | None:
    """Draw a panel for each of the two curves that the run has.

    Args:
        log: Columns ``step`` and ``loss`` of the step log; may be empty.
        validation: Results by epoch; may be empty.
        label: The run's name for readers.

    Returns:
        The figure; ``None`` when the run has neither curve.
    """
    scored = [
        entry
        for entry in validation
        if any(f"{direction}_R@1" in entry for direction in DIRECTIONS)
    ]
    has_loss = len(log.get("loss", ())) > 0
    panels = has_loss + bool(scored)
    if not panels:
        return None
    figure = new_figure(2.9, width=3.6 * panels)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    if has_loss:
        _draw_loss(axes[0], log["step"], log["loss"])
        axes[0].set(title=f"Training loss, {label}", xlabel="step", ylabel="loss")
    if scored:
        _draw_recall(axes[-1], scored)
        axes[-1].set(title=f"Validation R@1, {label}", xlabel="epoch", ylabel="R@1 (%)")
    for panel in axes:
        light_grid(panel)
    return figure


def _draw_loss(axes: Axes, step: np.ndarray, loss: np.ndarray) -> None:
    step, loss = step[np.isfinite(loss)], loss[np.isfinite(loss)]
    color = SERIES[0]
    if len(step) < SMOOTHED_FROM:
        marker = "o" if len(step) < DOTTED_BELOW else None
        axes.plot(step, loss, color=color, linewidth=1.6, marker=marker, markersize=3.5)
    else:
        window = max(5, len(step) // 25) | 1  # odd, so that a mean stands at a step
        mean = np.convolve(loss, np.full(window, 1 / window), "valid")
        middle = step[window // 2 : -(window // 2)]
        axes.plot(step, loss, color=color, linewidth=0.7, alpha=0.35, label="logged")
        axes.plot(middle, mean, color=color, linewidth=1.8, label=f"mean of {window}")
        axes.legend(loc="upper right")
    axes.set_ylim(
        bottom=0 if loss.min() >= 0 else None,
        top=loss.max() + 0.06 * max(np.ptp(loss), loss.max() / 2, 1e-6),
    )


def _draw_recall(axes: Axes, validation: Sequence[Mapping[str, float]]) -> None:
    for direction, name in DIRECTIONS.items():
        key = f"{direction}_R@1"
        points = [(entry["epoch"], 100 * entry[key]) for entry in validation if key in entry]
        if points:
            color, style = LOOK[direction]
            x, y = np.array(points).T
            axes.plot(
                x, y, style, color=color, linewidth=1.6, marker="o", markersize=3.5, label=name
            )
    best = max(
        validation,
        key=lambda entry: sum(entry.get(f"{direction}_R@1", 0.0) for direction in DIRECTIONS),
    )["epoch"]
    axes.axvline(best, color=SOFT, linewidth=0.9, linestyle=":")
    axes.text(
        best,
        1.0,
        f" best mean: epoch {best:g} ",
        transform=axes.get_xaxis_transform(),
        ha="right" if best > np.mean([entry["epoch"] for entry in validation]) else "left",
        va="top",
        fontsize=8.5,
        color=SOFT,
    )
    axes.set_ylim(0, min(106, 1.18 * axes.get_ylim()[1]))
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))
    axes.legend(loc="best")
