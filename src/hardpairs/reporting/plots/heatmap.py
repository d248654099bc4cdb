"""Cosine similarities of a few captions with a few images, the true pairs on the diagonal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hardpairs.data.samples import Samples
from hardpairs.metrics.retrieval import first_of_each
from hardpairs.reporting.plots.pictures import square
from hardpairs.reporting.plots.style import INK, lines_of, mark, new_figure, show_picture

PAIRS = 10


def similarity_heatmap(samples: Samples, drawn: Mapping[str, np.ndarray], label: str) -> Figure:
    """Ten of the stored pairs, captions all different.

    Args:
        drawn: arrays of drawn.npz.
    """
    texts = _first_captions(samples, drawn)[:PAIRS]
    images = drawn["text_image"][texts]
    similarity = drawn["text"][texts] @ drawn["image"][images].T
    count = len(texts)
    figure = new_figure(1.5 + 0.47 * count, width=2.9 + 0.47 * count)
    grid = figure.add_gridspec(
        2,
        count + 1,
        height_ratios=[1, count],
        width_ratios=[1] * count + [0.45],
        wspace=0.02,
        hspace=0.02,
    )
    for column, image in enumerate(images):
        axes = figure.add_subplot(grid[0, column])
        show_picture(axes, square(samples, drawn["image_rows"][image], 120))
    axes = figure.add_subplot(grid[1, :count])
    drawn_map = axes.imshow(similarity, cmap="cividis", aspect="auto")
    low, high = drawn_map.get_clim()
    for (row, column), value in np.ndenumerate(similarity):
        dark = (value - low) < 0.55 * (high - low)
        weight = "bold" if row == column else "normal"
        axes.text(
            column,
            row,
            f"{value:.2f}".replace("-", "−"),
            ha="center",
            va="center",
            fontsize=7.5,
            color="white" if dark else "black",
            weight=weight,
        )
    for place in range(count):
        axes.add_patch(
            Rectangle(
                (place - 0.5, place - 0.5), 1, 1, fill=False, edgecolor="white", linewidth=3.2
            )
        )
        axes.add_patch(
            Rectangle((place - 0.5, place - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=1.6)
        )
    axes.set_xticks([])
    axes.set_yticks(
        range(count),
        [lines_of(samples.caption(int(row)), 24, 2) for row in drawn["text_rows"][texts]],
        fontsize=8,
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(drawn_map, cax=figure.add_subplot(grid[1, count]))
    bar.set_label("cosine similarity")
    bar.outline.set_visible(False)
    figure.suptitle(
        f"Captions against images, {label}", x=0.01, ha="left", fontsize=10, fontweight="bold"
    )
    wins = int((similarity.argmax(axis=1) == np.arange(count)).sum())
    mark(
        axes,
        [
            f"Outlined: true pairs. {wins} of these {count} captions {'is' if wins == 1 else 'are'} nearest to {'its' if wins == 1 else 'their'} own image. Pairs are drawn at random."
        ],
    )
    return figure


def _first_captions(samples: Samples, drawn: Mapping[str, np.ndarray]) -> np.ndarray:
    """Positions of one caption of each image, no two of the same text."""
    first = first_of_each(drawn["text_image"])
    return first[first_of_each(samples.texts[drawn["text_rows"][first]])]
