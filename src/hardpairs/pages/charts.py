"""Draw charts with matplotlib: PNG files, and SVG that takes the colors of the page it is in.

One library draws both. Figures with images, and their files, need a raster image, which a page's
own SVG cannot give; and matplotlib's SVG can be part of a page: ``page_svg`` replaces its fixed
colors with the page's, so that a chart follows light and dark, loads nothing, and its text stays
text. Bars inside a table (``histogram``, intervals, durations) have no axes to draw: they are HTML
boxes with a width, which wrap on a narrow screen.

Functions import matplotlib when they are called, so that commands without a chart do not load it.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from hardpairs.core.atomic import atomic_open
from hardpairs.pages.album import shown_text
from hardpairs.pages.numbers import MINUS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

INK, SOFT, RULE = "#1c1e22", "#5c6068", "#d9d6cf"
RIGHT, WRONG = "#00785a", "#c4450c"
"""A bluish dark green and an orange red, which readers who cannot tell red from green can tell
apart; a mark says it, too."""

IMAGE, TEXT = "#0b62a4", "#d57a00"
SERIES = (IMAGE, TEXT, RIGHT, "#a8437f", "#4aa3d8", "#6b7079", "#8a6a1f", WRONG)
"""Colors of lines and bars, in order: Okabe and Ito's, darkened until they stand on white."""

PAGE_COLORS = 6
"""Colors of methods in page.css; more methods start over."""

_TO_PAGE = {color: f"var(--c{number})" for number, color in enumerate(SERIES[:PAGE_COLORS])}
_TO_PAGE |= {INK: "var(--ink)", SOFT: "var(--soft)", RULE: "var(--line)"}

DPI = 200
WIDTH = 7.2
"""Inches; the width of a page's text, so that a figure printed at full width has the type size
that it says."""

CHART_WIDTH, CHART_HEIGHT = 310, 218
"""Size of a page's chart in CSS pixels, at which its text has 11.5 pixels."""

MAX_POINTS = 400
"""Points of a line beyond which neighbors are averaged: more cannot be seen."""

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same image everywhere
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
    "svg.fonttype": "none",  # text stays text
}

Line = tuple[int, str, np.ndarray, np.ndarray]
"""A line of a chart: number of its color, label, x (P,) and y (P,); NaN is left out."""


@dataclass(frozen=True)
class Chart:
    """A chart as a page's template shows it; ``legend`` holds each color once, with its label."""

    title: str
    note: str
    x_label: str
    svg: Markup
    legend: list[tuple[int, str]]


def line_chart(
    title: str,
    lines: Iterable[Line],
    *,
    note: str = "",
    x_label: str = "step",
    whole: bool = True,
) -> Chart | None:
    """Draw lines for a page, from 0 up where the values come near it.

    Args:
        title: What the y axis shows.
        lines: Lines; the second and further ones of a color are drawn thinner.
        note: A sentence below the chart.
        x_label: What the x axis shows.
        whole: Whether the x axis counts something.

    Returns:
        The chart; ``None`` when there is nothing but zeros.
    """
    drawn = [(color, label, *_thinned(x, y)) for color, label, x, y in lines]
    drawn = [line for line in drawn if len(line[2])]
    if not any(y.any() for *_, y in drawn):
        return None
    from matplotlib.figure import Figure

    legend: dict[int, str] = {}
    with styled():
        figure = Figure(figsize=(CHART_WIDTH / 72, CHART_HEIGHT / 72))
        axes = figure.add_axes((40 / CHART_WIDTH, 22 / CHART_HEIGHT, 0.845, 0.87), frame_on=False)
        for number, label, x, y in drawn:
            color = SERIES[number % PAGE_COLORS]
            if len(x) == 1:  # a dot: a line without length, with round ends
                look: dict[str, Any] = {"linewidth": 9}
                x, y = x.repeat(2), y.repeat(2)
            else:
                look = {"linewidth": 1.4, "alpha": 0.5} if number in legend else {"linewidth": 2}
            axes.plot(x, y, color=color, solid_capstyle="round", **look)
            legend.setdefault(number, label)
        axes.margins(x=0, y=0.06)
        low, high = (bound(bound(y) for *_, y in drawn) for bound in (min, max))
        if 0 <= low < 0.5 * high:
            axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(_locator(whole))
        axes.yaxis.set_major_locator(_locator())
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: tick_text(value))
        axes.tick_params(length=0, pad=8, labelsize=11.5, labelcolor=SOFT)
        light_grid(axes, linewidth=1)
        svg = page_svg(figure)
    return Chart(title, note, x_label, svg, list(legend.items()))


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    if len(x) <= MAX_POINTS:
        return x, y
    parts = np.array_split(np.arange(len(x)), MAX_POINTS)
    return np.array([x[part].mean() for part in parts]), np.array(
        [y[part].mean() for part in parts]
    )


def _locator(whole: bool = False) -> MaxNLocator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=whole)


def ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers inside a range."""
    values = [round(float(value), 12) for value in _locator().tick_values(low, high)]
    return sorted({value for value in values if low <= value <= high})


def tick_text(value: float) -> str:
    """Return a tick's label, as short as it can be.

    Example:
        >>> tick_text(1000), tick_text(0.5), tick_text(0.00002)
        ('1,000', '.5', '2e-5')
    """
    value = round(value, 12)
    if value and abs(value) < 0.001:
        return f"{value:.0e}".replace("e-0", "e-")
    text = f"{abs(value):,.4f}".rstrip("0").rstrip(".")
    return (MINUS if value < 0 else "") + (text.removeprefix("0") if text[:2] == "0." else text)


def page_svg(figure: Figure) -> Markup:
    """Return a figure as SVG inside a page: in the page's colors and font, without ids or links.

    Ids would not be unique where a page holds several charts; what would need them (clipping,
    markers) is not drawn.
    """
    figure.patch.set_visible(False)
    for artist in figure.findobj():
        artist.set_clip_on(False)
    file = io.StringIO()
    metadata: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=metadata)
    width, height = 72 * figure.get_size_inches()
    svg = re.sub(r".*?<svg[^>]*>", "", file.getvalue(), count=1, flags=re.DOTALL)
    svg = re.sub(r"<defs>.*?</defs>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[^"]*"|font-family: [^;"]*;? ?|font: [\d.]+px [^;"]*;? ?', "", svg)
    svg = re.sub("#[0-9a-f]{6}", lambda match: _TO_PAGE.get(match[0], match[0]), svg)
    svg = re.sub(r' transform="rotate\(-0 [^"]*"|</?g/?>', "", svg)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    svg = re.sub(r' [dxy]="[^"]*"', lambda match: re.sub(r"(\.\d\d)\d+", r"\1", match[0]), svg)
    return Markup(f'<svg viewBox="0 0 {width:.0f} {height:.0f}" aria-hidden="true">{svg}')


def histogram(values: np.ndarray, *, bins: int = 24) -> list[tuple[float, str]]:
    """Return the bars of a histogram from 0 to 1.

    Args:
        values: (N,) numbers.
        bins: Number of bars.

    Returns:
        (height in percent of the highest, text of what the bar counts) for each bar.
    """
    counts, edges = np.histogram(values, bins=bins, range=(0.0, 1.0))
    return [
        (100 * count / max(counts.max(), 1), f"{low:.2f} to {high:.2f}: {count:,}")
        for count, low, high in zip(counts.tolist(), edges[:-1], edges[1:], strict=True)
    ]


def new_figure(height: float, *, width: float = WIDTH) -> Figure:
    """Return an empty white figure that lays itself out.

    Agg draws it, whatever backend the user's matplotlib has.

    Args:
        height: Inches.
        width: Inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def styled() -> AbstractContextManager[None]:
    """Return a context in which figures are drawn and saved in our style."""
    from matplotlib import rc_context

    return rc_context(_STYLE)


def save_png(figure: Figure, path: Path) -> Path:
    """Write a PNG file, complete or not at all; the same results give the same bytes."""
    with warnings.catch_warnings(), atomic_open(path) as file:
        # A letter that the font does not have, such as a Chinese one, is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return path


def light_grid(axes: Axes, *, linewidth: float = 0.6) -> None:
    """Draw thin horizontal lines behind the data."""
    axes.grid(axis="y", linewidth=linewidth)
    axes.set_axisbelow(True)


def lines_of(text: str, width: int, most: int) -> str:
    r"""Break a caption into lines.

    Args:
        text: The caption.
        width: Characters of a line, about.
        most: Lines at most; ``…`` stands where more is left.

    Example:
        >>> lines_of("a mug on a white chair on a dark floor", 12, 2)
        'a mug on a\nwhite chair…'
    """
    lines = textwrap.wrap(shown_text(text), width) or [""]
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][: width - 1].rstrip() + "…"]
    return "\n".join(lines)


def show_image(
    axes: Axes,
    pixels: np.ndarray | None,
    color: str = RULE,
    *,
    width: float = 0.6,
    style: Any = "-",
) -> None:
    """Show a square image in a frame, without ticks.

    Args:
        axes: Where to draw.
        pixels: (S, S, 3) uint8; ``None`` for an unreadable image, whose frame then says so.
        color: Color of the frame.
        width: Width of the frame's line, points.
        style: Style of the frame's line.
    """
    if pixels is None:
        axes.set_facecolor("#f1efe9")
        middle: dict[str, Any] = {"ha": "center", "va": "center", "transform": axes.transAxes}
        axes.text(0.5, 0.5, "not\nreadable", color=SOFT, fontsize=7, **middle)
        axes.set_box_aspect(1)
    else:
        axes.imshow(pixels, interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, edgecolor=color, linewidth=width, linestyle=style)


def footnote(figure: Figure, lines: Sequence[str]) -> None:
    """Write small print under a figure."""
    figure.supxlabel("\n".join(lines), fontsize=8, color=SOFT, x=0.01, ha="left")
