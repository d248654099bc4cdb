"""Reduce runs to numbers over seeds: mean and standard deviation, and what all runs share."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hardpairs.evaluating.results import numbers
from hardpairs.evaluating.runs import Method, Run

MINICLIP = {"R@1": "percent", "R@5": "percent", "R@10": "percent", "MRR": "score", "MedR": "rank"}
"""Metrics of MiniCLIP's protocol and their units."""


@dataclass(frozen=True)
class Spread:
    """One metric of one method over its runs.

    Attributes:
        mean: Mean over the runs.
        sd: Standard deviation over the runs (n - 1); ``None`` for one run.
        values: Each run's value.
    """

    mean: float
    sd: float | None
    values: tuple[float, ...]


def measured(run: Run) -> dict[str, float]:
    """Return a run's metrics by name; those of MiniCLIP's protocol as ``miniclip.R@1``..."""
    record = run.record.get("miniclip")
    theirs = numbers(record) if isinstance(record, Mapping) else ()
    return {
        **run.metrics,
        **{f"miniclip.{name}": float(value) for name, value in theirs if name in MINICLIP},
    }


def spread(method: Method) -> dict[str, Spread]:
    """Return the spread of each metric that all runs of a method have."""
    runs = [measured(run) for run in method.runs]
    shared = set.intersection(*map(set, runs))
    return {name: spread_of([run[name] for run in runs]) for name in runs[0] if name in shared}


def spread_of(values: Sequence[float]) -> Spread:
    """Return the spread of some values.

    Example:
        >>> spread_of([0.4, 0.5, 0.6])
        Spread(mean=0.5, sd=0.1, values=(0.4, 0.5, 0.6))
    """
    sd = round(statistics.stdev(values), 15) if len(values) > 1 else None
    return Spread(statistics.fmean(values), sd, tuple(values))


def shared_record(methods: Sequence[Method], *path: str) -> dict[str, Any]:
    """Return a part of the records that is the same for all runs, since all had the same queries.

    Args:
        methods: Methods of one evaluation.
        path: Keys that lead to the part, such as ``"baselines", "random"``.

    Returns:
        The part of the first record that has it; empty when none has.
    """
    for record in (run.record for method in methods for run in method.runs):
        part: Any = record
        for name in path:
            part = part.get(name) if isinstance(part, Mapping) else None
        if isinstance(part, Mapping):
            return dict(part)
    return {}
