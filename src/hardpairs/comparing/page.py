"""The page of ``tools.compare_losses``: the table, validation curves, and the queries that the losses answer differently."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardpairs.comparing.measure import Measured
from hardpairs.comparing.runs import START, Budget
from hardpairs.comparing.table import COLUMNS, LEADING, Row, cell, disagreements
from hardpairs.data.samples import Samples
from hardpairs.pages.album import Album, ShownImage
from hardpairs.pages.charts import Chart, line_chart
from hardpairs.pages.numbers import p_phrase

QUERIES = 12


@dataclass(frozen=True)
class Answer:
    """What one loss gives a query: (picture, whether it is right), nearest first; ``value``: the query's average precision."""

    loss: str
    pictures: list[tuple[ShownImage, bool]]
    value: str


@dataclass(frozen=True)
class LossesPage:
    """Everything the template reads."""

    title: str
    sentences: list[str]
    columns: tuple[str, ...]
    rows: list[tuple[str, list[str], str]]
    charts: list[Chart]
    queries: list[tuple[ShownImage, list[Answer]]]
    command: str


def losses_page(
    rows: list[Row],
    curves: dict[str, list[list[tuple[int, float]]]],
    budget: Budget,
    measured: dict[str, list[Measured]],
    query: Samples,
    gallery: Samples,
    command: str,
) -> LossesPage:
    """Args: curves: (epoch, metric) of each loss's seeds. query, gallery: where pictures are."""
    order = [row.loss for row in rows]
    measured = {loss: measured[loss] for loss in order}
    charts = [_chart(curves, [loss for loss in order if loss in curves], budget)]
    return LossesPage(
        title="Losses compared",
        sentences=_sentences(rows, budget, measured),
        columns=COLUMNS,
        rows=[
            (
                row.loss,
                [cell(row, name) for name in COLUMNS],
                "" if row.p is None else p_phrase(row.p),
            )
            for row in rows
        ],
        charts=[chart for chart in charts if chart is not None],
        queries=_queries(measured, query, gallery),
        command=command,
    )


def _sentences(rows: list[Row], budget: Budget, measured: dict[str, list[Measured]]) -> list[str]:
    best, queries = rows[0], len(next(iter(measured.values()))[0].rows)
    seeds = max(row.seeds for row in rows)
    near = [row.loss for row in rows[1:] if row.p is not None and row.p >= 0.05]
    told = f"By {LEADING} the best is {best.loss} ({cell(best, LEADING)} %)"
    told += (
        f"; {', '.join(near)} cannot be told from it on these queries."
        if near
        else "; all others are behind it (p < .05 each)."
    )
    return [
        told,
        f"All trained {budget.steps} steps of {budget.batch_size} pictures from one start model, {seeds} seed{'s' if seeds > 1 else ''}, on the same "
        f"batches for each seed; the epoch and the rate were chosen by {budget.metric} on validation data.",
        f"{queries} queries that no run was trained on or chosen by; a loss against the best: paired permutation test over queries.",
    ]


def _chart(
    curves: dict[str, list[list[tuple[int, float]]]], order: list[str], budget: Budget
) -> Chart | None:
    per_epoch = budget.steps // budget.epochs
    lines = []
    for colour, loss in enumerate(order):
        for seed in curves[loss]:
            epochs, values = (np.array(column, float) for column in zip(*seed, strict=True))
            lines.append((colour, loss, epochs * per_epoch, values))
    return line_chart(f"{budget.metric} on validation data", lines, note="one line for each seed")


def _queries(
    measured: dict[str, list[Measured]], query: Samples, gallery: Samples
) -> list[tuple[ShownImage, list[Answer]]]:
    """The queries with the largest differences, as the first seed of each loss answers them; the start model last."""
    asked, offered = Album(query), Album(gallery)
    order = sorted(measured, key=lambda loss: loss == START)
    shown = []
    for place in disagreements({loss: measured[loss] for loss in order if loss != START}, QUERIES):
        answers = []
        for loss in order:
            first = measured[loss][0]
            pictures = [
                (offered.image(row), bool(right))
                for row, right in zip(first.found[place], first.right[place], strict=True)
            ]
            answers.append(Answer(loss, pictures, f"{100 * first.queries[LEADING][place]:.0f}"))
        shown.append((asked.image(measured[order[0]][0].rows[place]), answers))
    return shown
