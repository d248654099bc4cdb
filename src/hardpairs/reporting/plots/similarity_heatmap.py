"""Draw the cosine similarities of a few captions with a few images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hardpairs.data.samples import Samples
from hardpairs.metrics.groups import first_of_each
from hardpairs.pages.album import square_pixels
from hardpairs.pages.charts import INK, footnote, lines_of, new_figure, show_image

PAIRS = 10
IMAGE_SIDE = 120


def similarity_heatmap(samples: Samples, stored: Mapping[str, np.ndarray], label: str) -> Figure:
    """Draw a heat map of ten stored pairs with different captions, true pairs on the diagonal.

    Args:
        samples: What the model was evaluated on.
        stored: Arrays of ``read_plot_embeddings``.
        label: The model's name for readers.
    """
    texts = _first_captions(samples, stored)[:PAIRS]
    images = stored["text_image"][texts]
    similarity = stored["text"][texts] @ stored["image"][images].T
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
    for column, row in enumerate(stored["image_rows"][images]):
        show_image(figure.add_subplot(grid[0, column]), square_pixels(samples, row, IMAGE_SIDE))
    axes = figure.add_subplot(grid[1, :count])
    color_map = axes.imshow(similarity, cmap="cividis", aspect="auto")
    _write_values(axes, similarity, *color_map.get_clim())
    for position in range(count):
        corner = (position - 0.5, position - 0.5)
        for color, width in (("white", 3.2), (INK, 1.6)):
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=color, linewidth=width))
    axes.set_xticks([])
    captions = [samples.caption(int(row)) for row in stored["text_rows"][texts]]
    axes.set_yticks(range(count), [lines_of(text, 24, 2) for text in captions], fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(color_map, cax=figure.add_subplot(grid[1, count]))
    bar.set_label("cosine similarity")
    bar.outline.set_visible(False)
    title = f"Captions against images, {label}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    nearest = int((similarity.argmax(axis=1) == np.arange(count)).sum())
    verb = "is nearest to its" if nearest == 1 else "are nearest to their"
    footnote(
        figure,
        [
            f"Outlined: true pairs. {nearest} of these {count} captions {verb} own image. Pairs "
            "are drawn at random."
        ],
    )
    return figure


def _write_values(axes: Axes, similarity: np.ndarray, low: float, high: float) -> None:
    for (row, column), value in np.ndenumerate(similarity):
        is_dark = (value - low) < 0.55 * (high - low)
        axes.text(
            column,
            row,
            f"{value:.2f}".replace("-", "−"),
            ha="center",
            va="center",
            fontsize=7.5,
            color="white" if is_dark else "black",
            weight="bold" if row == column else "normal",
        )


def _first_captions(samples: Samples, stored: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return positions of one caption of each image, no two with the same text."""
    first = first_of_each(stored["text_image"])
    return np.asarray(first[first_of_each(samples.texts[stored["text_rows"][first]])])
