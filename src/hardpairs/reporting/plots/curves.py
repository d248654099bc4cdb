"""Training curves: the loss by step, and R@1 on validation pairs by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hardpairs.evaluating.runs import DIRECTIONS
from hardpairs.reporting.plots.style import IMAGE, SERIES, SOFT, TEXT, light_grid, new_figure

SMOOTHED_FROM = 60
"""Logged steps from which on a running mean is drawn over the values."""

COLOURS = {"image_to_text": IMAGE, "text_to_image": TEXT}


def training_curves(
    log: Mapping[str, np.ndarray], validation: Sequence[Mapping[str, float]], label: str
) -> Figure | None:
    """One panel for each of the two that the run has; ``None`` when it has neither.

    Args:
        log: columns of the step log (``step``, ``loss``). validation: results by epoch.
    """
    scored = [
        entry
        for entry in validation
        if any(f"{direction}_R@1" in entry for direction in DIRECTIONS)
    ]
    panels = ([_loss] if len(log.get("loss", ())) else []) + ([_recall] if scored else [])
    if not panels:
        return None
    figure = new_figure(2.9, width=3.6 * len(panels))
    for panel, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        if panel is _loss:
            _loss(axes, log["step"], log["loss"], label)
        else:
            _recall(axes, scored, label)
        light_grid(axes)
    return figure


def _loss(axes: Axes, step: np.ndarray, loss: np.ndarray, label: str) -> None:
    axes.set(title=f"Training loss, {label}", xlabel="step", ylabel="loss")
    kept = np.isfinite(loss)
    step, loss = step[kept], loss[kept]
    if len(step) < SMOOTHED_FROM:
        axes.plot(
            step,
            loss,
            color=SERIES[0],
            linewidth=1.6,
            marker="o" if len(step) < 25 else None,
            markersize=3.5,
        )
    else:
        window = max(5, len(step) // 25) | 1  # odd, so that a mean stands at a step
        axes.plot(step, loss, color=SERIES[0], linewidth=0.7, alpha=0.35, label="logged")
        middle = slice(window // 2, -(window // 2))
        axes.plot(
            step[middle],
            np.convolve(loss, np.full(window, 1 / window), "valid"),
            color=SERIES[0],
            linewidth=1.8,
            label=f"mean of {window}",
        )
        axes.legend(loc="upper right")
    axes.set_ylim(
        bottom=0 if loss.min() >= 0 else None,
        top=loss.max() + 0.06 * max(np.ptp(loss), loss.max() / 2, 1e-6),
    )


def _recall(axes: Axes, validation: Sequence[Mapping[str, float]], label: str) -> None:
    axes.set(title=f"Validation R@1, {label}", xlabel="epoch", ylabel="R@1 (%)")
    best = max(
        validation,
        key=lambda entry: sum(entry.get(f"{direction}_R@1", 0.0) for direction in DIRECTIONS),
    )
    for direction, name in DIRECTIONS.items():
        points = np.array(
            [
                (entry["epoch"], 100 * entry[key])
                for entry in validation
                if (key := f"{direction}_R@1") in entry
            ]
        )
        if not len(points):
            continue
        style = "-" if direction == "image_to_text" else "--"
        axes.plot(
            *points.T,
            style,
            color=COLOURS[direction],
            linewidth=1.6,
            marker="o",
            markersize=3.5,
            label=name,
        )
    axes.axvline(best["epoch"], color=SOFT, linewidth=0.9, linestyle=":")
    side = "right" if best["epoch"] > np.mean([entry["epoch"] for entry in validation]) else "left"
    axes.text(
        best["epoch"],
        1.0,
        f" best mean: epoch {best['epoch']:g} ",
        transform=axes.get_xaxis_transform(),
        ha=side,
        va="top",
        fontsize=8.5,
        color=SOFT,
    )
    axes.set_ylim(0, min(106, 1.18 * axes.get_ylim()[1]))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="best")
