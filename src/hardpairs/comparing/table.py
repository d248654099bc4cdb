"""Losses side by side: mean and spread over seeds, and a paired test of each against the best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardpairs.comparing.measure import METRICS, Measured
from hardpairs.metrics.significance import paired_permutation_test

LEADING = "mAP"
"""The metric that losses are ranked and tested by: unlike top-1 it looks at every right answer."""
COLUMNS = (*METRICS, "score", "ari")


@dataclass(frozen=True)
class Row:
    """A loss.

    Attributes:
        mean, spread: by metric, over seeds (standard deviation of a sample; 0 for one seed).
        p: of a difference of ``LEADING`` to the best loss, queries paired and averaged over seeds; ``None`` for the best itself.
        rate: the learning rate that validation data chose. epochs: the best epoch of each seed. validation: what the validation data said of these
            epochs, mean over seeds; ``None`` for the start model, which it did not look at.
    """

    loss: str
    seeds: int
    mean: dict[str, float]
    spread: dict[str, float]
    p: float | None
    rate: float | None
    epochs: tuple[int, ...]
    validation: float | None = None


def rows_of(
    measured: dict[str, list[Measured]],
    rates: dict[str, float],
    epochs: dict[str, tuple[int, ...]],
    validation: dict[str, float] | None = None,
) -> list[Row]:
    """A row for each loss, best first by ``LEADING``."""
    numbers = {loss: [seed.numbers() for seed in seeds] for loss, seeds in measured.items()}
    means = {
        loss: {name: float(np.mean([seed[name] for seed in found])) for name in COLUMNS}
        for loss, found in numbers.items()
    }
    order = sorted(measured, key=lambda loss: -means[loss][LEADING])
    best = _queries(measured[order[0]])
    rows = []
    for loss in order:
        spread = {
            name: float(np.std([seed[name] for seed in numbers[loss]], ddof=1))
            if len(numbers[loss]) > 1
            else 0.0
            for name in COLUMNS
        }
        p = None if loss == order[0] else paired_permutation_test(best, _queries(measured[loss]))
        rows.append(
            Row(
                loss,
                len(numbers[loss]),
                means[loss],
                spread,
                p,
                rates.get(loss),
                epochs.get(loss, ()),
                (validation or {}).get(loss),
            )
        )
    return rows


def _queries(seeds: list[Measured]) -> np.ndarray:
    """(Q,) mean over seeds of each query's ``LEADING``."""
    return np.mean([seed.queries[LEADING] for seed in seeds], axis=0)


def chosen(rows: list[Row]) -> Row:
    """The loss that validation data prefers: the one to go on with, as the test only reports."""
    return max(
        (row for row in rows if row.validation is not None), key=lambda row: row.validation or 0.0
    )


def markdown(rows: list[Row]) -> str:
    """The table as text; shares in percent."""
    lines = [
        "| loss | seeds | rate | validation | " + " | ".join(COLUMNS) + " | p |",
        "|" + "---|" * (len(COLUMNS) + 5),
    ]
    for row in rows:
        cells = [cell(row, name) for name in COLUMNS]
        rate, p = (
            "" if row.rate is None else f"{row.rate:g}",
            "" if row.p is None else f"{row.p:.4f}",
        )
        seen = "" if row.validation is None else f"{100 * row.validation:.1f}"
        lines.append(
            f"| {row.loss} | {row.seeds} | {rate} | {seen} | " + " | ".join(cells) + f" | {p} |"
        )
    return "\n".join(lines) + "\n"


def cell(row: Row, name: str) -> str:
    """A mean with its spread: the score in its own points, all else in percent."""
    scale = 1 if name == "score" else 100
    if np.isnan(row.mean[name]):
        return ""
    spread = f" ± {scale * row.spread[name]:.1f}" if row.seeds > 1 else ""
    return f"{scale * row.mean[name]:.1f}{spread}"


def disagreements(measured: dict[str, list[Measured]], most: int) -> list[int]:
    """Queries (by place) that the losses answer most differently: the largest spread of ``LEADING`` over losses, seeds averaged."""
    if len(measured) < 2:
        return []
    values = np.stack([_queries(seeds) for seeds in measured.values()])
    spread = values.max(axis=0) - values.min(axis=0)
    order = np.argsort(-spread, kind="stable")[:most]
    return [int(place) for place in order if spread[place] > 0]
