"""The page of a study: the table, an interval for each recipe, and validation on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hardpairs.pages.charts import Chart, line_chart
from hardpairs.recipes.recipe import BASE, PLAIN
from hardpairs.recipes.study import Study
from hardpairs.recipes.table import TABLE_COLUMNS, RecipeRow, cells


@dataclass(frozen=True)
class Bar:
    """An interval as shares of the chart's width, in percent.

    Attributes:
        left: Lower end.
        width: From the lower to the upper end.
        point: The gain itself.
        zero: No gain.
    """

    left: float
    width: float
    point: float
    zero: float


@dataclass(frozen=True)
class PageRow:
    """A row of the table as text.

    Attributes:
        recipe: Name of the recipe.
        cells: The columns after the name.
        settings: The settings that validation chose.
        bar: The interval over splits; ``None`` for the reference, and for one split.
    """

    recipe: str
    cells: list[str]
    settings: str
    bar: Bar | None


@dataclass(frozen=True)
class StudyPage:
    """Everything that the template reads."""

    title: str
    sentences: list[str]
    columns: tuple[str, ...]
    rows: list[PageRow]
    charts: list[Chart]
    command: str


def study_page(study: Study, rows: Sequence[RecipeRow], opened: str) -> StudyPage:
    """Build the page.

    Args:
        study: The study.
        rows: Rows of its table.
        opened: When the test data was opened.
    """
    shown = [
        PageRow(
            row.recipe,
            cells(row)[1:],
            "; ".join(f"{text} ({count})" for text, count in row.settings.items()),
            _bar(row, rows),
        )
        for row in rows
    ]
    chart = _chart(study, rows)
    return StudyPage(
        title="Recipes compared",
        sentences=[*verdict_sentences(rows), *_facts(study, opened)],
        columns=TABLE_COLUMNS[1:],
        rows=shown,
        charts=[] if chart is None else [chart],
        command=f"hardpairs compare open-test {study.out.name}",
    )


def verdict_sentences(rows: Sequence[RecipeRow]) -> list[str]:
    """Return what the table says, in a sentence or two."""
    recipes = [row for row in rows if row.recipe not in (BASE, PLAIN)]
    named = {
        verdict: [f"{row.recipe} ({row.gain:+.2f})" for row in recipes if row.verdict == verdict]
        for verdict in ("better", "worse", "unclear")
    }
    sentences = []
    if named["better"]:
        sentences.append(f"Better than plain training: {', '.join(named['better'])} points of R@1.")
    else:
        sentences.append("No recipe is shown to be better than plain training on these pairs.")
    if named["worse"]:
        sentences.append(f"Worse: {', '.join(named['worse'])}.")
    if named["unclear"]:
        sentences.append(
            f"No significant difference to plain training: {', '.join(named['unclear'])}."
        )
    return sentences


def _facts(study: Study, opened: str) -> list[str]:
    plan, fold = study.plan, study.fold(0)
    return [
        f"{len(fold.train):,} pairs to train on, {len(fold.val):,} to choose by, "
        f"{len(fold.test):,} to test, none of them with a caption, an image or a group in common; "
        f"{plan.splits} splits, {plan.seeds} seeds each.",
        f"R@1 is the mean of both directions. Intervals are 95 %, over splits with the correction "
        f"of Nadeau and Bengio, and over queries; p-values are corrected for "
        f"{len(plan.recipes) - 1} recipes (Holm).",
        f"The test data was opened on {opened}.",
    ]


def _bar(row: RecipeRow, rows: Sequence[RecipeRow]) -> Bar | None:
    if row.recipe == PLAIN or row.over_splits is None:
        return None
    ends = [end for other in rows for end in other.over_splits or ()]
    low, high = min(*ends, 0.0), max(*ends, 0.0)
    span = (high - low) or 1.0
    left, right = row.over_splits

    def share(value: float) -> float:
        return round(100 * (value - low) / span, 2)

    return Bar(share(left), share(right) - share(left), share(row.gain), share(0.0))


def _chart(study: Study, rows: Sequence[RecipeRow]) -> Chart | None:
    """Return the validation curves of the first split and seed."""
    by_name = {recipe.name: recipe for recipe in study.recipes}
    lines = []
    for color, row in enumerate(row for row in rows if row.recipe in by_name):
        record = study.record(study.chosen(by_name[row.recipe], 0)[0])
        curve = np.array(record.get("curve", []), float).reshape(-1, 3)
        trained = curve[:, 0] * record["rows"]
        lines.append((color, row.recipe, trained, 100 * curve[:, 1]))
    return line_chart(
        "R@1 on validation data, percent",
        lines,
        note="the first split and seed",
        x_label="pairs trained on",
    )
