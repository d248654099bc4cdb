"""Losses side by side: mean and spread over seeds, and a paired test of each against the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardpairs.comparing.measure import METRICS, QueryResults
from hardpairs.metrics.significance import paired_permutation_test

LEADING = "mAP"
"""The metric that ranks and tests losses: unlike top-1 it counts every correct answer."""
COLUMNS = (*METRICS, "score", "ari")
Results = Mapping[str, Sequence[QueryResults]]
"""Results of each seed, by loss."""


@dataclass(frozen=True)
class Training:
    """The training of one loss, as validation data chose it.

    Attributes:
        rate: The learning rate.
        epochs: The best epoch of each seed.
        validation: The metric of the validation data at these epochs, mean over seeds.
    """

    rate: float
    epochs: tuple[int, ...]
    validation: float


@dataclass(frozen=True)
class LossRow:
    """A row of the table.

    Attributes:
        loss: Name of the loss.
        seeds: Number of seeds.
        mean: Mean over seeds, by metric.
        spread: Standard deviation of the sample over seeds, by metric; 0 for one seed.
        p: p-value of the difference in ``LEADING`` to the best loss, by queries; ``None`` for the
            best loss itself.
        training: How it was trained; ``None`` for the start model.
    """

    loss: str
    seeds: int
    mean: dict[str, float]
    spread: dict[str, float]
    p: float | None
    training: Training | None = None

    def record(self) -> dict[str, Any]:
        """Return the row for JSON, which has no NaN: a single-image label has no ARI."""
        training = self.training
        return {
            "loss": self.loss,
            "seeds": self.seeds,
            "rate": training and training.rate,
            "p": self.p,
            "epochs": list(training.epochs) if training else [],
            "validation": training and training.validation,
            **{
                name: {"mean": _number(self.mean[name]), "sd": _number(self.spread[name])}
                for name in COLUMNS
            },
        }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def rows_of(results: Results, trainings: Mapping[str, Training]) -> list[LossRow]:
    """Return a row for each loss, best first by ``LEADING``.

    Args:
        results: Results of each seed, by loss.
        trainings: How each loss was trained; the start model is not among them.
    """
    numbers = {
        loss: {name: np.array([seed.numbers()[name] for seed in seeds]) for name in COLUMNS}
        for loss, seeds in results.items()
    }
    order = sorted(results, key=lambda loss: -float(numbers[loss][LEADING].mean()))
    best = _by_query(results[order[0]])
    rows = []
    for loss in order:
        seeds = len(results[loss])
        spread = {
            name: float(np.std(values, ddof=1)) if seeds > 1 else 0.0
            for name, values in numbers[loss].items()
        }
        rows.append(
            LossRow(
                loss,
                seeds,
                mean={name: float(np.mean(values)) for name, values in numbers[loss].items()},
                spread=spread,
                p=None
                if loss == order[0]
                else paired_permutation_test(best, _by_query(results[loss])),
                training=trainings.get(loss),
            )
        )
    return rows


def _by_query(seeds: Sequence[QueryResults]) -> np.ndarray:
    """Return the mean over seeds of each query's ``LEADING``, (Q,)."""
    return np.asarray(np.mean([seed.queries[LEADING] for seed in seeds], axis=0))


def preferred(rows: Sequence[LossRow]) -> tuple[str, float]:
    """Return the loss that validation data prefers, and its metric there.

    It is the one to go on with: the test only reports.
    """
    trained = {row.loss: row.training.validation for row in rows if row.training}
    return max(trained.items(), key=lambda item: item[1])


def verdict(rows: Sequence[LossRow], metric: str) -> str:
    """Return which loss validation data chose, and which one only the test queries tell.

    Args:
        rows: The table.
        metric: The metric of the validation data.
    """
    loss, value = preferred(rows)
    choice = next(row for row in rows if row.loss == loss)
    said = (
        f"The choice is {loss}, the best by {metric} on the validation data "
        f"({100 * value:.1f} %): {LEADING} {cell(choice, LEADING)} on the queries."
    )
    if rows[0].loss == loss:
        return f"{said} It is also the best there."
    return (
        f"{said} The best there is {rows[0].loss} ({cell(rows[0], LEADING)}): "
        "an oracle, which nobody knows without the queries' answers."
    )


def markdown(rows: Sequence[LossRow]) -> str:
    """Return the table as text; shares in percent."""
    lines = [
        f"| loss | seeds | rate | validation | {' | '.join(COLUMNS)} | p |",
        "|" + "---|" * (len(COLUMNS) + 5),
    ]
    for row in rows:
        training = row.training
        cells = [
            row.loss,
            str(row.seeds),
            f"{training.rate:g}" if training else "",
            f"{100 * training.validation:.1f}" if training else "",
            *(cell(row, name) for name in COLUMNS),
            "" if row.p is None else f"{row.p:.4f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cell(row: LossRow, name: str) -> str:
    """Return a mean with its spread: the score in points, all else in percent."""
    scale = 1 if name == "score" else 100
    if np.isnan(row.mean[name]):
        return ""
    spread = f" ± {scale * row.spread[name]:.1f}" if row.seeds > 1 else ""
    return f"{scale * row.mean[name]:.1f}{spread}"


def disagreements(results: Results, most: int) -> list[int]:
    """Return the queries with the largest spread of ``LEADING`` over losses, seeds averaged.

    Args:
        results: Results of each seed, by loss.
        most: Number of queries to return at most.
    """
    if len(results) < 2:
        return []
    values = np.stack([_by_query(seeds) for seeds in results.values()])
    spread = values.max(axis=0) - values.min(axis=0)
    order = np.argsort(-spread, kind="stable")[:most]
    return [int(query) for query in order if spread[query] > 0]
