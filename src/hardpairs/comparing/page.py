"""The page of a comparison: the table, validation curves, and queries with different answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hardpairs.comparing.comparison import Comparison
from hardpairs.comparing.measure import QueryResults
from hardpairs.comparing.runs import START, Budget, TrainingRun
from hardpairs.comparing.table import (
    COLUMNS,
    LEADING,
    LossRow,
    cell,
    disagreements,
    preferred,
)
from hardpairs.data.samples import Samples
from hardpairs.pages.album import Album, ShownImage
from hardpairs.pages.charts import Chart, line_chart
from hardpairs.pages.numbers import p_phrase

QUERIES = 12
"""Queries on the page."""


@dataclass(frozen=True)
class Answer:
    """The nearest gallery images of one loss for a query.

    Attributes:
        loss: Name of the loss.
        images: Image and whether it is correct, nearest first.
        value: The query's average precision in percent.
    """

    loss: str
    images: list[tuple[ShownImage, bool]]
    value: str


@dataclass(frozen=True)
class TableRow:
    """A row of the table as text.

    Attributes:
        loss: Name of the loss.
        mark: What the row is besides: the choice, the oracle, or nothing.
        cells: The metrics, in the order of ``LossesPage.columns``.
        p: The test against the best on the queries; empty for that one.
    """

    loss: str
    mark: str
    cells: list[str]
    p: str


@dataclass(frozen=True)
class LossesPage:
    """Everything that the template reads."""

    title: str
    sentences: list[str]
    columns: tuple[str, ...]
    rows: list[TableRow]
    charts: list[Chart]
    queries: list[tuple[ShownImage, list[Answer]]]
    command: str


def losses_page(
    comparison: Comparison, budget: Budget, gallery: Samples, query: Samples | None, command: str
) -> LossesPage:
    """Build the page.

    Args:
        comparison: The result.
        budget: The settings of all runs.
        gallery: The data set of the gallery images.
        query: That of the query images; ``None``: the gallery.
        command: The command, for the record.
    """
    rows = comparison.rows
    order = [row.loss for row in rows]
    results = {loss: comparison.results[loss] for loss in order}
    runs = {loss: comparison.runs[loss] for loss in order if loss in comparison.runs}
    chart = _chart(runs, budget)
    return LossesPage(
        title="Losses compared",
        sentences=[*comparison.notes, *_sentences(rows, budget, len(results[START][0].rows))],
        columns=COLUMNS,
        rows=[_table_row(row, rows) for row in rows],
        charts=[] if chart is None else [chart],
        queries=_queries(results, query or gallery, gallery),
        command=command,
    )


def _table_row(row: LossRow, rows: Sequence[LossRow]) -> TableRow:
    mark = ""
    if row.loss == preferred(rows)[0]:
        mark = "the choice of the validation data"
    elif row is rows[0]:
        mark = "an oracle: the best of the queries"
    cells = [cell(row, name) for name in COLUMNS]
    return TableRow(row.loss, mark, cells, "" if row.p is None else p_phrase(row.p))


def _sentences(rows: Sequence[LossRow], budget: Budget, queries: int) -> list[str]:
    best, seeds = rows[0], max(row.seeds for row in rows)
    near = [row.loss for row in rows[1:] if row.p is not None and row.p >= 0.05]
    others = (
        f"{', '.join(near)} cannot be told from {best.loss} on these queries."
        if near
        else f"All others are behind {best.loss} (p < .05 each)."
    )
    return [
        others,
        f"All trained {budget.steps} steps of {budget.batch_size} images from one start model, "
        f"{seeds} seed{'s' if seeds > 1 else ''}, on the same batches for each seed; the epoch and "
        f"the rate were chosen by {budget.metric} on validation data.",
        f"{queries} queries that no run was trained on or chosen by; a loss against the best of "
        "them: paired permutation test over queries.",
    ]


def _chart(runs: Mapping[str, Sequence[TrainingRun]], budget: Budget) -> Chart | None:
    steps_per_epoch = budget.steps // budget.epochs
    lines = []
    for color, (loss, seeds) in enumerate(runs.items()):
        for run in seeds:
            curve = np.array(run.curve(budget.metric), float)
            lines.append((color, loss, curve[:, 0] * steps_per_epoch, curve[:, 1]))
    return line_chart(f"{budget.metric} on validation data", lines, note="one line for each seed")


def _queries(
    results: Mapping[str, Sequence[QueryResults]], query: Samples, gallery: Samples
) -> list[tuple[ShownImage, list[Answer]]]:
    """Return the queries with the largest differences, by the first seed; the start model last."""
    asked, offered = Album(query), Album(gallery)
    trained = {loss: seeds for loss, seeds in results.items() if loss != START}
    first = {loss: seeds[0] for loss, seeds in {**trained, START: results[START]}.items()}
    shown = []
    for index in disagreements(trained, QUERIES):
        answers = []
        for loss, result in first.items():
            nearest = zip(result.nearest[index], result.correct[index], strict=True)
            images = [(offered.image(row), bool(correct)) for row, correct in nearest]
            answers.append(Answer(loss, images, f"{100 * result.queries[LEADING][index]:.0f}"))
        shown.append((asked.image(first[START].rows[index]), answers))
    return shown
