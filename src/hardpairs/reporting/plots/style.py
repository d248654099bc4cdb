"""How all figures look, and how they are saved."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hardpairs.core.atomic import atomic_open
from hardpairs.pages.pictures import shown_text

INK, SOFT, RULE = "#1c1e22", "#5c6068", "#d9d6cf"
RIGHT, WRONG = "#00785a", "#c4450c"
"""Green and red that readers who see red and green alike can still tell apart: one is bluish and dark, one orange; a mark says it, too."""

IMAGE, TEXT = "#0b62a4", "#d57a00"
SERIES = ("#0b62a4", "#d57a00", "#00785a", "#a8437f", "#4aa3d8", "#6b7079", "#8a6a1f", "#c4450c")
"""Of methods, in order (Okabe and Ito's colours, darkened until they stand on white)."""

DPI = 200
WIDTH = 7.2
"""Inches: the width of a page's text, so that a figure printed at full width has the type size it says."""

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same picture everywhere
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": RULE,
    "text.color": INK,
    "text.parse_math": False,  # a caption may hold a dollar sign
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}


def new_figure(height: float, *, width: float = WIDTH) -> Figure:
    """An empty white figure, inches, that lays itself out; drawn by Agg, whatever backend the user's matplotlib has."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def styled() -> AbstractContextManager[None]:
    """The style, for a ``with`` block around drawing and saving."""
    return rc_context(_STYLE)


def save(figure: Figure, path: Path) -> Path:
    """Writes a PNG, complete or not at all; the same results give the same bytes."""
    with warnings.catch_warnings(), atomic_open(path) as file:
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing from"
        )  # drawn as a box: the font has no Chinese, for one
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return path


def light_grid(axes: Axes) -> None:
    axes.grid(axis="y", linewidth=0.6)
    axes.set_axisbelow(True)


def lines_of(text: str, width: int, most: int) -> str:
    """A caption broken into at most ``most`` lines of about ``width`` characters, ``…`` where more is left.

    Example:
        >>> lines_of("a mug on a white chair on a dark floor", 12, 2)
        'a mug on a\\nwhite chair…'
    """
    lines = textwrap.wrap(shown_text(text), width) or [""]
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][: width - 1].rstrip() + "…"]
    return "\n".join(lines)


def frame(axes: Axes, colour: str, *, width: float, style: str = "-") -> None:
    """A border all around, and no ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, edgecolor=colour, linewidth=width, linestyle=style)


def show_picture(
    axes: Axes,
    pixels: np.ndarray | None,
    colour: str = RULE,
    *,
    width: float = 0.6,
    style: str = "-",
) -> None:
    """A square (S, S, 3) uint8 picture in a frame; ``None``: a tile that says it cannot be read."""
    if pixels is None:
        axes.set_facecolor("#f1efe9")
        axes.text(
            0.5,
            0.5,
            "not\nreadable",
            ha="center",
            va="center",
            color=SOFT,
            fontsize=7,
            transform=axes.transAxes,
        )
        axes.set_box_aspect(1)
    else:
        axes.imshow(pixels, interpolation="antialiased")
    frame(axes, colour, width=width, style=style)


def mark(axes: Axes, lines: Sequence[str]) -> None:
    """Small print under a figure's axes."""
    axes.figure.supxlabel("\n".join(lines), fontsize=8, color=SOFT, x=0.01, ha="left")
