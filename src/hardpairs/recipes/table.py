"""The table of a study: what each recipe gained over the plain one, and whether that is chance."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardpairs.metrics.significance import bootstrap_interval, corrected_t, holm
from hardpairs.recipes.recipe import BASE, PLAIN
from hardpairs.recipes.study import Study
from hardpairs.recipes.test_set import DIRECTIONS

TABLE_COLUMNS = (
    "recipe",
    "R@1",
    "against plain",
    "over splits",
    "over queries",
    "p (Holm)",
    "verdict",
    "time",
)


@dataclass(frozen=True)
class RecipeRow:
    """A row of the table. Recalls are percent, differences are points.

    Attributes:
        recipe: Name of the recipe.
        recall: Mean R@1 of both directions on test data, over splits and seeds.
        validation: The same on validation data; ``None`` for the base.
        gain: Difference of ``recall`` to the plain recipe.
        over_splits: 95 % interval of the gain over splits; ``None`` for one split.
        over_queries: 95 % interval of the gain over queries.
        p: p-value of the gain over splits.
        p_holm: The same, corrected for the number of recipes.
        time: Seconds of training, to those of the plain recipe.
        settings: The settings that validation chose, with the number of splits.
    """

    recipe: str
    recall: float
    validation: float | None
    gain: float
    over_splits: tuple[float, float] | None
    over_queries: tuple[float, float]
    p: float
    p_holm: float
    time: float | None
    settings: dict[str, int]

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` where the corrected p-value is below .05, else ``unclear``."""
        if self.p_holm >= 0.05:
            return "unclear"
        return "better" if self.gain > 0 else "worse"


def recipe_rows(
    study: Study,
    validation: Mapping[str, Any],
    test: Mapping[str, Any],
    queries: Mapping[str, np.ndarray],
) -> list[RecipeRow]:
    """Return the rows of the table, the largest gain first.

    Args:
        study: The study.
        validation: What ``run_study`` returned.
        test: What ``open_test`` returned.
        queries: Its ranks by query, of ``test-queries.npz``.
    """
    metrics = test["metrics"]
    recalls = {name: _by_split(by_split) for name, by_split in metrics.items()}
    fold = study.fold(0)
    share = len(fold.test) / len(fold.train)
    plain_hits = _hits(queries, PLAIN, study)
    others = [name for name in metrics if name != PLAIN]
    differences = {name: np.subtract(recalls[name], recalls[PLAIN]) for name in metrics}
    tests = {name: corrected_t(differences[name].tolist(), share) for name in metrics}
    compared = [name for name in others if name != BASE]
    corrected = dict(zip(compared, holm([tests[name][2] for name in compared]), strict=True))
    plain_time = _time(validation[PLAIN])
    rows = []
    for name in metrics:
        low, high, p = tests[name]
        over_queries = bootstrap_interval(_hits(queries, name, study), plain_hits)
        chosen = validation.get(name, [])
        rows.append(
            RecipeRow(
                name,
                100 * float(np.mean(recalls[name])),
                100 * _validation(chosen) if chosen else None,
                100 * float(differences[name].mean()),
                (100 * low, 100 * high) if study.plan.splits > 1 else None,
                (100 * over_queries[0], 100 * over_queries[1]),
                p,
                corrected.get(name, p),
                _time(chosen) / plain_time if chosen and plain_time else None,
                _settings(chosen),
            )
        )
    return sorted(rows, key=lambda row: -row.gain)


def read_rows(study: Study, test: Mapping[str, Any]) -> list[RecipeRow]:
    """Return the rows of a study whose test data is open.

    Args:
        study: The study.
        test: What ``open_test`` returned.
    """
    validation = json.loads((study.out / "validation.json").read_text(encoding="utf-8"))
    with np.load(study.out / "test-queries.npz") as queries:
        return recipe_rows(study, validation, test, queries)


def _by_split(metrics: Sequence[Sequence[Mapping[str, float]]]) -> list[float]:
    """Return the mean R@1 over the seeds of each split."""
    return [statistics.fmean(run["mean_R@1"] for run in seeds) for seeds in metrics]


def _hits(queries: Mapping[str, np.ndarray], recipe: str, study: Study) -> np.ndarray:
    """Return the share of right first answers of each different query over splits and seeds.

    Returns:
        (Q,) float64; images and texts are different queries. A query that several splits test
        counts once.
    """
    values, names = [], []
    for number, direction in enumerate(DIRECTIONS):
        for split in range(study.plan.splits):
            seeds = 1 if recipe == BASE else study.plan.seeds
            ranks = [queries[f"{recipe}/{split}/{seed}/{direction}"] for seed in range(seeds)]
            values.append(np.mean([rank == 1 for rank in ranks], axis=0))
            names.append(2 * queries[f"rows/{split}/{direction}"] + number)
    query = np.unique(np.concatenate(names), return_inverse=True)[1]
    counts = np.bincount(query)
    return np.asarray(np.bincount(query, weights=np.concatenate(values)) / counts)


def _validation(chosen: Sequence[Mapping[str, Any]]) -> float:
    recalls = [value for split in chosen for value in split["R@1"] if value is not None]
    return statistics.fmean(recalls) if recalls else float("nan")


def _time(chosen: Sequence[Mapping[str, Any]]) -> float:
    seconds = [value for split in chosen for value in split["seconds"] if value is not None]
    return statistics.fmean(seconds) if seconds else 0.0


def _settings(chosen: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for split in chosen:
        name = f"{split['setting'] or 'as it is'}, lr {split['rate']:g}"
        counts[name] = counts.get(name, 0) + 1
    return counts


def cells(row: RecipeRow) -> list[str]:
    """Return a row of the table as text, in the order of ``TABLE_COLUMNS``."""
    reference = row.recipe == PLAIN
    return [
        row.recipe,
        f"{row.recall:.2f}",
        "" if reference else f"{row.gain:+.2f}",
        "" if reference else _interval(row.over_splits),
        "" if reference else _interval(row.over_queries),
        "" if reference else f"{row.p_holm:.3f}",
        "the reference" if reference else row.verdict,
        "" if row.time is None else f"{row.time:.2f}",
    ]


def markdown(rows: Sequence[RecipeRow]) -> str:
    """Return the table as Markdown."""
    lines = [TABLE_COLUMNS, ["---"] * len(TABLE_COLUMNS), *map(cells, rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def validation_markdown(validation: Mapping[str, Any]) -> str:
    """Return a table of the validation data, for a study whose test data is not opened yet."""
    lines = ["| recipe | R@1 on validation | settings chosen |", "|---|---|---|"]
    order = sorted(validation, key=lambda name: -_validation(validation[name]))
    for name in order:
        settings = "; ".join(
            f"{setting} ({count})" for setting, count in _settings(validation[name]).items()
        )
        lines.append(f"| {name} | {100 * _validation(validation[name]):.2f} | {settings} |")
    return "\n".join(lines) + "\n"


def _interval(ends: tuple[float, float] | None) -> str:
    return "one split" if ends is None else f"[{ends[0]:+.2f}, {ends[1]:+.2f}]"
