"""Compare methods: mean and spread over seeds, and paired tests of each against a reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hardpairs.evaluating.runs import DIRECTIONS, Method, Run
from hardpairs.evaluating.spread import spread
from hardpairs.metrics.significance import bootstrap_interval, paired_permutation_test

ALPHA = 0.05
"""A p-value below it is called a difference."""

PerQuery = Callable[[dict[str, np.ndarray], str], np.ndarray | None]


@dataclass(frozen=True)
class Metric:
    """A metric of the results.

    Attributes:
        suffix: Its name in evaluation.json, after the direction.
        label: Its name for readers.
        hint: What it is, for readers.
        unit: ``share`` (a fraction, shown as percent; differences in points), ``rank`` or
            ``score``.
        better: 1 when more is better, -1 when less is, 0 when neither.
        per_query: Maps (arrays of queries.npz, direction) to (Q,) values whose mean is the
            metric; ``None`` where no such values are kept.
    """

    suffix: str
    label: str
    hint: str
    unit: str
    better: int
    per_query: PerQuery | None = None


def _recalled(cutoff: int) -> PerQuery:
    return lambda queries, direction: queries[f"{direction}_ranks"] <= cutoff


def _beats(queries: dict[str, np.ndarray], direction: str) -> np.ndarray | None:
    beats, counted = queries.get(f"{direction}_beats"), queries.get("beats_counted")
    return None if beats is None or counted is None else beats[counted]


METRICS = (
    Metric("R@1", "R@1", "share of queries whose first answer is right", "share", 1, _recalled(1)),
    Metric("R@5", "R@5", "share with a right answer among the first 5", "share", 1, _recalled(5)),
    Metric(
        "R@10", "R@10", "share with a right answer among the first 10", "share", 1, _recalled(10)
    ),
    Metric(
        "MRR",
        "MRR",
        "mean of 1 / rank of the first right answer",
        "score",
        1,
        lambda queries, direction: 1 / queries[f"{direction}_ranks"],
    ),
    Metric("mAP@10", "mAP@10", "mean average precision among the first 10", "score", 1),
    Metric("median_rank", "median rank", "of the first right answer", "rank", -1),
    Metric(
        "mean_rank",
        "mean rank",
        "of the first right answer",
        "rank",
        -1,
        lambda queries, direction: queries[f"{direction}_ranks"].astype(np.float64),
    ),
    Metric(
        "beats_hard_pairs",
        "beats its hard pairs",
        "share of pairs that score above all their hard pairs",
        "share",
        1,
        _beats,
    ),
    Metric(
        "wrong_answers_mined",
        "wrong answers mined",
        "share of wrong first answers that were hard pairs",
        "share",
        0,
    ),
)
_R1 = tuple(metric for metric in METRICS if metric.suffix == "R@1")
HEADLINE = tuple(
    f"{direction}_{suffix}" for suffix in ("R@1", "beats_hard_pairs") for direction in DIRECTIONS
)
"""The metrics that the verdict rests on."""


@dataclass(frozen=True)
class Difference:
    """A method's metric minus the reference's.

    Attributes:
        value: Difference of the means over seeds.
        p: p-value of a paired permutation test over queries; ``None`` where nothing can be
            paired, as are ``low`` and ``high``.
        low: Lower end of the 95 % interval over queries.
        high: Upper end of that interval.
        by_seed: The difference for each seed that both methods have.
        better: As in ``Metric``.
    """

    value: float
    p: float | None
    low: float | None
    high: float | None
    by_seed: tuple[float, ...]
    better: int

    @property
    def is_tested(self) -> bool:
        """True when there is a test and some query differs."""
        return self.p is not None and (self.low, self.high) != (0.0, 0.0)

    @property
    def seeds_disagree(self) -> bool:
        """True when a seed's difference has not the sign of the mean.

        A test over queries cannot see the luck of training.
        """
        return any(difference * self.value <= 0 for difference in self.by_seed)

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` when the test says so and no seed says otherwise.

        Else ``unclear``; ``untested`` without a test.
        """
        if self.p is None or not self.better:
            return "untested"
        if self.p >= ALPHA or self.seeds_disagree:
            return "unclear"
        return "better" if self.value * self.better > 0 else "worse"


@dataclass(frozen=True)
class Comparison:
    """All numbers of the results, by name of the method and of the metric.

    Attributes:
        methods: In the order given.
        reference: The method that the others are compared with; ``None`` when there is only one
            method.
        hero: The method that the page leads with; ``None`` likewise.
        values: Means over seeds.
        spread: Standard deviations over seeds, of methods with several.
        ranges: Least and greatest values over seeds, likewise.
        differences: Differences to the reference, of the other methods.
        from_base: Differences in R@1 to the method ``base``, of the other methods; empty without
            it.
    """

    methods: tuple[Method, ...]
    reference: Method | None
    hero: Method | None
    values: dict[str, dict[str, float]]
    spread: dict[str, dict[str, float]]
    ranges: dict[str, dict[str, tuple[float, float]]]
    differences: dict[str, dict[str, Difference]]
    from_base: dict[str, dict[str, Difference]]

    def best(self, key: str, better: int) -> set[str]:
        """Return the methods with the best value of a metric.

        Args:
            key: The metric's name.
            better: As in ``Metric``.

        Returns:
            Names of methods; empty where there is no best or all are equal.
        """
        values = {
            name: round(values[key] * better, 6)
            for name, values in self.values.items()
            if key in values
        }
        if not better or len(set(values.values())) < 2:
            return set()
        best = max(values.values())
        return {name for name, value in values.items() if value == best}

    def has(self, key: str) -> bool:
        """Return whether any method has a metric."""
        return any(key in values for values in self.values.values())

    @property
    def several_seeds(self) -> bool:
        """True when some method has several runs."""
        return any(len(method.runs) > 1 for method in self.methods)


def compare(methods: Sequence[Method]) -> Comparison:
    """Compare methods with ``plain``, or with the first where none has that name."""
    reference = hero = None
    if len(methods) > 1:
        reference = next((method for method in methods if method.name == "plain"), methods[0])
        hero = _hero([method for method in methods if method is not reference])
    spreads = {
        method.name: {
            key: value for key, value in spread(method).items() if key in method.first.metrics
        }
        for method in methods
    }
    return Comparison(
        methods=tuple(methods),
        reference=reference,
        hero=hero,
        values={
            name: {key: value.mean for key, value in by_metric.items()}
            for name, by_metric in spreads.items()
        },
        spread={
            method.name: {
                key: value.sd for key, value in spreads[method.name].items() if value.sd is not None
            }
            for method in methods
            if len(method.runs) > 1
        },
        ranges={
            method.name: {
                key: (min(value.values), max(value.values))
                for key, value in spreads[method.name].items()
            }
            for method in methods
            if len(method.runs) > 1
        },
        differences={
            method.name: _differences(method, reference)
            for method in methods
            if reference is not None and method is not reference
        },
        from_base={
            method.name: _differences(method, base, _R1)
            for base in methods
            if base.name == "base"
            for method in methods
            if method is not base
        },
    )


def _hero(others: Sequence[Method]) -> Method:
    """Return ``hard``, else the first that is not the base model, else the first."""
    order = sorted(others, key=lambda method: (method.name != "hard", method.name == "base"))
    return order[0]


def _differences(
    method: Method, reference: Method, metrics: Sequence[Metric] = METRICS
) -> dict[str, Difference]:
    differences = {}
    for direction in DIRECTIONS:
        for metric in metrics:
            key = f"{direction}_{metric.suffix}"
            if all(key in run.metrics for run in (*method.runs, *reference.runs)):
                differences[key] = _difference(method, reference, key, direction, metric)
    return differences


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
    ours, theirs = (
        _per_query(each.runs, metric.per_query, direction) for each in (method, reference)
    )
    if ours is None or theirs is None or len(ours) != len(theirs):
        return Difference(value, None, None, None, by_seed, metric.better)
    if ours.shape != theirs.shape:
        # Other numbers of seeds: each query's mean over them, which the test would take as well.
        ours, theirs = ours.mean(axis=1), theirs.mean(axis=1)
    p, (low, high) = paired_permutation_test(ours, theirs), bootstrap_interval(ours, theirs)
    return Difference(value, p, low, high, by_seed, metric.better)


def _per_query(runs: Sequence[Run], values: PerQuery | None, direction: str) -> np.ndarray | None:
    """Return (Q, S) values with a column per seed.

    ``None`` where a run has no values, or the runs counted different queries.
    """
    columns = [values(run.queries, direction) for run in runs] if values is not None else []
    kept = [column for column in columns if column is not None and len(column)]
    if len(kept) < len(runs) or len({len(column) for column in kept}) > 1:
        return None
    return np.stack(kept, axis=1).astype(np.float64)
