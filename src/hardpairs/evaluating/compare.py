"""Methods side by side: mean and spread over seeds, and paired tests of each against a reference."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hardpairs.evaluating.runs import DIRECTIONS, Method, Run
from hardpairs.metrics.significance import bootstrap_interval, paired_permutation_test

ALPHA = 0.05
"""A p-value below it is called a difference."""

PerQuery = Callable[[dict[str, np.ndarray], str], np.ndarray | None]


@dataclass(frozen=True)
class Metric:
    """A column of the results.

    Attributes:
        suffix: its name in evaluation.json, after the direction.
        label, hint: for the reader.
        unit: ``share`` (a fraction, shown as percent; differences in points), ``rank`` or ``score``.
        better: 1 when more is better, -1 when less is, 0 when neither.
        per_query: (queries.npz, direction) to (Q,) values whose mean is the metric; absent where no such values are kept.
    """

    suffix: str
    label: str
    hint: str
    unit: str
    better: int
    per_query: PerQuery | None = None


def _hits(cutoff: int) -> PerQuery:
    return lambda queries, direction: queries[f"{direction}_ranks"] <= cutoff


def _beats(queries: dict[str, np.ndarray], direction: str) -> np.ndarray | None:
    beats, counted = queries.get(f"{direction}_beats"), queries.get("beats_counted")
    return None if beats is None or counted is None else beats[counted]


METRICS = (
    Metric("R@1", "R@1", "share of queries whose first answer is right", "share", 1, _hits(1)),
    Metric("R@5", "R@5", "share with a right answer among the first 5", "share", 1, _hits(5)),
    Metric("R@10", "R@10", "share with a right answer among the first 10", "share", 1, _hits(10)),
    Metric(
        "MRR",
        "MRR",
        "mean of 1 / rank of the first right answer",
        "score",
        1,
        lambda q, d: 1 / q[f"{d}_ranks"],
    ),
    Metric("mAP@10", "mAP@10", "mean average precision among the first 10", "score", 1),
    Metric("median_rank", "median rank", "of the first right answer", "rank", -1),
    Metric(
        "mean_rank",
        "mean rank",
        "of the first right answer",
        "rank",
        -1,
        lambda q, d: q[f"{d}_ranks"].astype(np.float64),
    ),
    Metric(
        "beats_hard_pairs",
        "beats its hard pairs",
        "share of pairs that score above all their mined partners",
        "share",
        1,
        _beats,
    ),
    Metric(
        "wrong_answers_mined",
        "wrong answers mined",
        "share of wrong first answers that were mined partners",
        "share",
        0,
    ),
)
HEADLINE = tuple(
    f"{direction}_{suffix}" for suffix in ("R@1", "beats_hard_pairs") for direction in DIRECTIONS
)
"""The metrics that the verdict rests on."""


@dataclass(frozen=True)
class Difference:
    """A method minus the reference.

    Attributes:
        value: of the means over seeds.
        p, low, high: paired permutation test and 95 % interval over queries; ``None`` where there is nothing to pair.
        by_seed: the difference for each seed that both have.
        better: as in ``Metric``.
    """

    value: float
    p: float | None
    low: float | None
    high: float | None
    by_seed: tuple[float, ...]
    better: int

    @property
    def is_tested(self) -> bool:
        """Whether there is a test that says anything: some query must differ."""
        return self.p is not None and (self.low, self.high) != (0.0, 0.0)

    @property
    def seeds_disagree(self) -> bool:
        """Whether a seed's difference has not the sign of the mean; a test over queries cannot see the luck of training."""
        return any(difference * self.value <= 0 for difference in self.by_seed)

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` when the test says so and no seed says otherwise, else ``unclear``; ``untested`` without a test."""
        if self.p is None or not self.better:
            return "untested"
        if self.p >= ALPHA or self.seeds_disagree:
            return "unclear"
        return "better" if self.value * self.better > 0 else "worse"


@dataclass(frozen=True)
class Comparison:
    """All numbers of the results, by method name and metric name.

    Attributes:
        methods: in the order given.
        reference: the method that the others are compared with; ``None`` when there is one method alone.
        hero: the method that the page leads with; ``None`` likewise.
    """

    methods: tuple[Method, ...]
    reference: Method | None
    hero: Method | None
    values: dict[str, dict[str, float]]
    spread: dict[str, dict[str, float]]
    differences: dict[str, dict[str, Difference]]

    def best(self, key: str, better: int) -> set[str]:
        """Methods with the best value of a metric; none where there is no best or all are equal."""
        found = {
            name: round(values[key] * better, 6)
            for name, values in self.values.items()
            if key in values
        }
        best = max(found.values(), default=0.0)
        return (
            {name for name, value in found.items() if value == best}
            if better and len(set(found.values())) > 1
            else set()
        )

    def has(self, key: str) -> bool:
        """Whether any method has this metric."""
        return any(key in values for values in self.values.values())

    @property
    def several_seeds(self) -> bool:
        return any(len(method.runs) > 1 for method in self.methods)


def compare(methods: Sequence[Method]) -> Comparison:
    """Compares methods with ``plain``, or with the first where none is called so."""
    reference, hero = _reference(methods), _hero(methods)
    values = {method.name: _over_seeds(method, statistics.fmean) for method in methods}
    spread = {
        method.name: _over_seeds(method, statistics.stdev)
        for method in methods
        if len(method.runs) > 1
    }
    differences = {
        m.name: _differences(m, reference)
        for m in methods
        if reference is not None and m is not reference
    }
    return Comparison(tuple(methods), reference, hero, values, spread, differences)


def _reference(methods: Sequence[Method]) -> Method | None:
    return next((m for m in methods if m.name == "plain"), methods[0]) if len(methods) > 1 else None


def _hero(methods: Sequence[Method]) -> Method | None:
    others = [m for m in methods if m is not _reference(methods)] if len(methods) > 1 else []
    for wanted in (lambda m: m.name == "hard", lambda m: m.name != "base"):
        if found := [m for m in others if wanted(m)]:
            return found[0]
    return others[0] if others else None


def _over_seeds(method: Method, summary: Callable[[list[float]], float]) -> dict[str, float]:
    shared = set.intersection(*(set(run.metrics) for run in method.runs))
    return {
        key: summary([run.metrics[key] for run in method.runs])
        for key in method.first.metrics
        if key in shared
    }


def _differences(method: Method, reference: Method) -> dict[str, Difference]:
    result = {}
    for direction in DIRECTIONS:
        for metric in METRICS:
            key = f"{direction}_{metric.suffix}"
            if all(key in run.metrics for run in (*method.runs, *reference.runs)):
                result[key] = _difference(method, reference, key, direction, metric)
    return result


def _difference(
    method: Method, reference: Method, key: str, direction: str, metric: Metric
) -> Difference:
    value = float(
        np.mean([run.metrics[key] for run in method.runs])
        - np.mean([run.metrics[key] for run in reference.runs])
    )
    theirs_by_seed = {run.seed: run.metrics[key] for run in reference.runs}
    by_seed = tuple(
        run.metrics[key] - theirs_by_seed[run.seed]
        for run in method.runs
        if run.seed in theirs_by_seed
    )
    ours, theirs = (_per_query(m.runs, metric.per_query, direction) for m in (method, reference))
    if ours is None or theirs is None or len(ours) != len(theirs):
        return Difference(value, None, None, None, by_seed, metric.better)
    if (
        ours.shape != theirs.shape
    ):  # other numbers of seeds: each query's mean over them, as the test itself would take
        ours, theirs = ours.mean(axis=1), theirs.mean(axis=1)
    low, high = bootstrap_interval(ours, theirs)
    return Difference(
        value, paired_permutation_test(ours, theirs), low, high, by_seed, metric.better
    )


def _per_query(runs: Sequence[Run], values: PerQuery | None, direction: str) -> np.ndarray | None:
    """(Q, S) values, a column for each seed; ``None`` where a run has none, or the runs counted other queries."""
    found = [values(run.queries, direction) for run in runs] if values is not None else []
    columns = [column for column in found if column is not None and len(column)]
    if len(columns) < len(runs) or len({len(column) for column in columns}) > 1:
        return None
    return np.stack(columns, axis=1).astype(np.float64)
