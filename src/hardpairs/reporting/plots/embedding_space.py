"""Draw a map of embeddings by t-SNE: images, and their captions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hardpairs.data.samples import Samples
from hardpairs.pages.charts import IMAGE, SOFT, TEXT, footnote, lines_of, new_figure

FEWEST = 5
"""Points below which a map says nothing."""

LINK = "#b9b6ae"
SEED = 0


def embedding_space(
    samples: Samples, stored: Mapping[str, np.ndarray], label: str
) -> Figure | None:
    """Draw images as numbered squares and captions as dots, with a line to their image.

    Args:
        samples: What the model was evaluated on.
        stored: Arrays of ``read_plot_embeddings``.
        label: The model's name for readers.

    Returns:
        The figure; ``None`` when there are too few points, or all are equal.
    """
    points = np.concatenate([stored["image"], stored["text"]])
    if len(points) < FEWEST or np.ptp(points, axis=0).max() < 1e-6:
        return None
    images, texts = np.split(projected(points), [len(stored["image"])])
    figure = new_figure(5.1)
    axes, key = figure.subplots(1, 2, width_ratios=[2.75, 1])
    for text, image in zip(texts, images[stored["text_image"]], strict=True):
        axes.plot(*np.stack([text, image]).T, color=LINK, linewidth=0.8, zorder=1)
    edge = {"edgecolor": "white"}
    axes.scatter(*texts.T, s=26, color=TEXT, linewidth=0.6, zorder=2, label="caption", **edge)
    axes.scatter(
        *images.T, s=105, color=IMAGE, marker="s", linewidth=0.7, zorder=3, label="image", **edge
    )
    for number, (x, y) in enumerate(images, start=1):
        axes.text(
            x,
            y,
            str(number),
            ha="center",
            va="center_baseline",
            fontsize=7,
            color="white",
            fontweight="bold",
            zorder=4,
        )
    title = f"Embeddings of {len(images)} images and {len(texts)} captions, {label}"
    axes.set(xticks=[], yticks=[], title=title)
    axes.spines[:].set(visible=True, color=LINK)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, handletextpad=0.2, fontsize=9
    )
    _write_key(key, samples, stored)
    footnote(
        figure,
        [
            "t-SNE keeps neighbors, not distances: near means similar, far means nothing. A line "
            "joins an image and its captions."
        ],
    )
    return figure


def projected(points: np.ndarray) -> np.ndarray:
    """Map points to a plane by scikit-learn's exact t-SNE, started from the principal axes.

    Args:
        points: (N, D), N at least ``FEWEST``. The perplexity is 30, or a third of the points
            where they are few.

    Returns:
        (N, 2); the same for the same points.
    """
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(points) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", method="exact", random_state=SEED)
    return np.asarray(tsne.fit_transform(points.astype(np.float64)))


def _write_key(axes: Axes, samples: Samples, stored: Mapping[str, np.ndarray]) -> None:
    """Write the numbers and first captions of the images."""
    axes.axis("off")
    first = np.searchsorted(stored["text_image"], np.arange(len(stored["image"])))
    for number, row in enumerate(stored["text_rows"][first]):
        height = 1 - (number + 0.5) / len(first)
        look: dict[str, Any] = {"va": "center", "fontsize": 8, "transform": axes.transAxes}
        axes.text(0.09, height, str(number + 1), ha="right", color=SOFT, **look)
        axes.text(0.13, height, lines_of(samples.caption(int(row)), 24, 1), **look)
