"""Renders the page: a template of this folder, everything in it escaped, nothing fetched from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from tools.reporting import numbers
from tools.reporting.compare import ALPHA, HEADLINE, METRICS, Comparison
from tools.reporting.examples import Kind, capitalised
from tools.reporting.figures import Chart, Intervals
from tools.reporting.mined import Anchor, Drawn
from tools.reporting.provenance import Download, Step
from tools.reporting.runs import DIRECTIONS, Method, direction_of

FOLDER = Path(__file__).parent
COLOURS = 6
"""Colours of methods in page.css; more methods start over."""


@dataclass
class HardPairs:
    """What is shown of a training table."""

    statistics: dict[str, Any]
    options: dict[str, Any]
    histogram: list[tuple[float, str]]
    anchors: list[Anchor]
    lookalikes: list[Anchor]
    batches: tuple[Drawn, Drawn]
    depth: int


@dataclass
class Page:
    """Everything the template reads. Empty parts are left out of the page."""

    title: str
    comparison: Comparison
    done: list[str]
    verdicts: list[tuple[str, str]]
    warnings: list[str]
    small_print: list[str]
    intervals: Intervals | None
    charts: list[Chart]
    examples: dict[str, list[Kind]]
    hard_pairs: HardPairs | None
    downloads: list[Download]
    steps: list[Step]
    settings: tuple[list[Method], list[tuple[str, list[str]]]]
    versions: dict[str, str]
    fingerprints: list[tuple[str, str]]
    licences: list[str]
    left_out: list[str] = field(default_factory=list)


def render(page: Page) -> str:
    """The page as one HTML text that loads nothing."""
    return render_template("page.html.j2", page=page, metrics=METRICS, directions=DIRECTIONS, headline=HEADLINE, alpha=ALPHA)


def render_template(name: str, **content: Any) -> str:
    """A template of this folder with the style of all pages."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        value=numbers.value_text,
        difference=numbers.difference_text,
        p=numbers.p_phrase,
        count=numbers.count_text,
        seconds=numbers.seconds_text,
        tone=lambda index: f"c{index % COLOURS}",
        capitalised=capitalised,
        arrow=lambda key: DIRECTIONS[direction_of(key)],
    )
    style = Markup((FOLDER / "page.css").read_text(encoding="utf-8"))
    text = environment.get_template(name).render(style=style, **content)
    return text.encode("utf-8", "replace").decode()  # half a surrogate pair has no UTF-8
