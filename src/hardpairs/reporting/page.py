"""The report's page: everything its template reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hardpairs.evaluating.compare import ALPHA, HEADLINE, METRICS, Comparison
from hardpairs.evaluating.runs import DIRECTIONS, Method
from hardpairs.pages.charts import Chart, Intervals
from hardpairs.pages.template import render_template
from hardpairs.reporting.examples import Kind
from hardpairs.reporting.mined import Anchor, Drawn
from hardpairs.reporting.provenance import Download, Step


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
    return render_template(
        "page.html.j2",
        page=page,
        metrics=METRICS,
        directions=DIRECTIONS,
        headline=HEADLINE,
        alpha=ALPHA,
    )
