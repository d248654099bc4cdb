"""What a few captions find: the first five images of each, right ones and wrong ones marked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hardpairs.data.samples import Samples
from hardpairs.pages.numbers import count_text
from hardpairs.reporting.examples import draw
from hardpairs.reporting.plots.pictures import square
from hardpairs.reporting.plots.style import (
    RIGHT,
    SOFT,
    WIDTH,
    WRONG,
    lines_of,
    mark,
    new_figure,
    show_picture,
)

QUERIES, ANSWERS = 5, 5


def retrieval_results(samples: Samples, queries: Mapping[str, np.ndarray], label: str) -> Figure:
    """A row for each of five captions, drawn with a fixed seed and never picked.

    Args:
        samples: what the model was evaluated on. queries: arrays of queries.npz.
    """
    rows, ranks, top = (
        queries["text_rows"],
        queries["text_to_image_ranks"],
        queries["text_to_image_top"],
    )
    chosen = draw(np.arange(len(rows)), samples.groups[rows], QUERIES)
    answers = min(ANSWERS, top.shape[1])
    figure = new_figure(0.35 + 1.22 * len(chosen), width=WIDTH * (1.6 + answers) / (1.6 + ANSWERS))
    grid = figure.subplots(
        len(chosen), 1 + answers, squeeze=False, width_ratios=[1.6, *[1] * answers]
    )
    for line, query in zip(grid, chosen, strict=True):
        words, *cells = line
        words.axis("off")
        caption, rank = (
            lines_of(samples.caption(int(rows[query])), 18, 4),
            count_text(int(ranks[query])),
        )
        words.text(
            0,
            0.5,
            caption,
            va="bottom",
            fontsize=9.5,
            fontweight="bold",
            linespacing=1.15,
            transform=words.transAxes,
        )
        words.text(
            0,
            0.42,
            f"first right one: rank {rank}",
            va="top",
            fontsize=8.5,
            color=SOFT,
            transform=words.transAxes,
        )
        for axes, row in zip(cells, top[query, :answers], strict=True):
            _answer(axes, samples, int(row), int(rows[query]))
    figure.suptitle(
        f"First answers to {len(chosen)} of {count_text(len(rows))} captions, {label}",
        x=0.01,
        ha="left",
        fontsize=10,
        fontweight="bold",
    )
    mark(
        grid[-1, 0],
        [
            "Queries are drawn at random. Same words: wrong, but this very caption also stands with that image."
        ],
    )
    return figure


def _answer(axes: Axes, samples: Samples, row: int, asked: int) -> None:
    """One image with its verdict, in words, colour and kind of line."""
    right = samples.group(row) == samples.group(asked)
    same_words = samples.groups[samples.texts == samples.texts[asked]]
    colour = RIGHT if right else WRONG
    show_picture(
        axes,
        square(samples, row),
        colour,
        width=3.0 if right else 1.4,
        style="-" if right else (0, (4, 2)),
    )
    verdict = (
        "✓ right" if right else "✗ same words" if samples.group(row) in same_words else "✗ wrong"
    )
    axes.set_title(verdict, color=colour, fontsize=8.5, loc="center", pad=3)
