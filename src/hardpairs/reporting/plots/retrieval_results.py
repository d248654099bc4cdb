"""Draw the first images that a few captions retrieve, right and wrong ones marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hardpairs.data.samples import Samples
from hardpairs.pages.album import square_pixels
from hardpairs.pages.charts import (
    RIGHT,
    SOFT,
    WIDTH,
    WRONG,
    footnote,
    lines_of,
    new_figure,
    show_image,
)
from hardpairs.pages.numbers import count_text
from hardpairs.reporting.examples import draw

QUERIES, ANSWERS = 5, 5


def retrieval_results(samples: Samples, queries: Mapping[str, np.ndarray], label: str) -> Figure:
    """Draw a row of images for each of five captions, which are drawn with a fixed seed.

    Args:
        samples: What the model was evaluated on.
        queries: Arrays of queries.npz.
        label: The model's name for readers.
    """
    rows, ranks = queries["text_rows"], queries["text_to_image_ranks"]
    top = queries["text_to_image_top"][:, :ANSWERS]
    answers = top.shape[1]
    chosen = draw(np.arange(len(rows)), samples.groups[rows], QUERIES)
    figure = new_figure(0.35 + 1.22 * len(chosen), width=WIDTH * (1.6 + answers) / (1.6 + ANSWERS))
    grid = figure.subplots(
        len(chosen), 1 + answers, squeeze=False, width_ratios=[1.6, *[1] * answers]
    )
    for (words, *cells), query in zip(grid, chosen, strict=True):
        row = int(rows[query])
        _write_query(words, samples.caption(row), int(ranks[query]))
        for axes, answer in zip(cells, top[query], strict=True):
            _show_answer(axes, samples, int(answer), row)
    title = f"First answers to {len(chosen)} of {count_text(len(rows))} captions, {label}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    footnote(figure, ["Queries are drawn at random."])
    return figure


def _write_query(axes: Axes, caption: str, rank: int) -> None:
    axes.axis("off")
    lines, at = lines_of(caption, 18, 4), dict[str, Any](transform=axes.transAxes)
    axes.text(0, 0.5, lines, va="bottom", fontsize=9.5, weight="bold", linespacing=1.15, **at)
    text = f"first right one: rank {count_text(rank)}"
    axes.text(0, 0.42, text, va="top", fontsize=8.5, color=SOFT, **at)


def _show_answer(axes: Axes, samples: Samples, row: int, query_row: int) -> None:
    """Show an image with its verdict in words, color and kind of line."""
    pixels = square_pixels(samples, row)
    if samples.is_right(query_row, row):
        color, verdict = RIGHT, "✓ right"
        show_image(axes, pixels, color, width=3.0)
    else:
        color, verdict = WRONG, "✗ wrong"
        show_image(axes, pixels, color, width=1.4, style=(0, (4, 2)))
    axes.set_title(verdict, color=color, fontsize=8.5, loc="center", pad=3)
