"""A map of embeddings by t-SNE: images, their captions, and how far apart they lie."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hardpairs.data.samples import Samples
from hardpairs.reporting.plots.style import IMAGE, SOFT, TEXT, lines_of, mark, new_figure

FEWEST = 5
"""Points below which a map says nothing."""

SEED = 0


def projected(points: np.ndarray) -> np.ndarray:
    """(N, 2) by scikit-learn's exact t-SNE, started from the principal axes; the same for the same points.

    Args:
        points: (N, D), N at least ``FEWEST``. Perplexity is 30, or a third of the points where they are few.
    """
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(points) - 1) / 3)
    return TSNE(
        2, perplexity=perplexity, init="pca", method="exact", random_state=SEED
    ).fit_transform(points.astype(np.float64))


def embedding_space(samples: Samples, drawn: Mapping[str, np.ndarray], label: str) -> Figure | None:
    """Images as numbered squares, captions as dots, a line between those that belong together; ``None`` for too few, or all equal, points.

    Args:
        drawn: arrays of drawn.npz.
    """
    points = np.concatenate([drawn["image"], drawn["text"]])
    if len(points) < FEWEST or np.ptp(points, axis=0).max() < 1e-6:
        return None
    places = projected(points)
    image, text = places[: len(drawn["image"])], places[len(drawn["image"]) :]
    figure = new_figure(5.1)
    axes, key = figure.subplots(1, 2, width_ratios=[2.75, 1])
    for place, owner in zip(text, drawn["text_image"], strict=True):
        axes.plot(*np.stack([place, image[owner]]).T, color="#b9b6ae", linewidth=0.8, zorder=1)
    axes.scatter(
        *text.T, s=26, color=TEXT, edgecolor="white", linewidth=0.6, zorder=2, label="caption"
    )
    axes.scatter(
        *image.T,
        s=105,
        color=IMAGE,
        marker="s",
        edgecolor="white",
        linewidth=0.7,
        zorder=3,
        label="image",
    )
    for number, place in enumerate(image, start=1):
        axes.text(
            *place,
            str(number),
            ha="center",
            va="center_baseline",
            fontsize=7,
            color="white",
            fontweight="bold",
            zorder=4,
        )
    axes.set(
        xticks=[],
        yticks=[],
        title=f"Embeddings of {len(image)} images and {len(text)} captions, {label}",
    )
    axes.spines[:].set(visible=True, color="#b9b6ae")
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, handletextpad=0.2, fontsize=9
    )
    _key(key, samples, drawn)
    mark(
        axes,
        [
            "t-SNE keeps neighbours, not distances: near means alike, far means nothing. A line joins an image and its captions."
        ],
    )
    return figure


def _key(axes: Axes, samples: Samples, drawn: Mapping[str, np.ndarray]) -> None:
    """Numbers and first captions of the images."""
    axes.axis("off")
    first = np.searchsorted(drawn["text_image"], np.arange(len(drawn["image"])))
    for number, place in enumerate(first):
        height = 1 - (number + 0.5) / len(first)
        axes.text(
            0.09,
            height,
            str(number + 1),
            ha="right",
            va="center",
            fontsize=8,
            color=SOFT,
            transform=axes.transAxes,
        )
        caption = lines_of(samples.caption(int(drawn["text_rows"][place])), 24, 1)
        axes.text(0.13, height, caption, va="center", fontsize=8, transform=axes.transAxes)
