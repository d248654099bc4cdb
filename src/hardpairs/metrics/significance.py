"""Paired tests over the same queries: whether one run is better than another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats


def paired_permutation_test(
    ours: np.ndarray, theirs: np.ndarray, *, rounds: int = 10_000, seed: int = 0
) -> float:
    """Return the two-sided p-value of the mean paired difference under random swaps.

    Args:
        ours: (Q,) values by query, such as 0 or 1 for R@1. (Q, S) with one column per seed uses
            the mean of each query, so that queries are the units that are swapped.
        theirs: The same shape, of the other run.
        rounds: Number of random sign flips.
        seed: Seed of the flips.

    Returns:
        (1 + rounds at least as extreme) / (1 + rounds), which is never 0.
    """
    difference = _differences(ours, theirs)
    difference = difference[difference != 0]  # a swap of equal values changes nothing
    observed = abs(difference.sum())
    rng = np.random.default_rng(seed)
    extreme = 0
    for start in range(0, rounds, 500):
        shape = (min(500, rounds - start), len(difference))
        signs = rng.integers(0, 2, shape, dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ difference) >= observed - 1e-12).sum())
    return (1 + extreme) / (1 + rounds)


def bootstrap_interval(
    ours: np.ndarray, theirs: np.ndarray, *, level: float = 0.95, rounds: int = 2_000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile interval of the mean paired difference over resampled queries.

    Args:
        ours: (Q,) or (Q, S) values, as in ``paired_permutation_test``.
        theirs: The same shape, of the other run.
        level: Probability of the interval.
        rounds: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        The lower and the upper end.
    """
    difference = _differences(ours, theirs)
    rng = np.random.default_rng(seed)
    means = [
        difference[rng.integers(0, len(difference), len(difference))].mean() for _ in range(rounds)
    ]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def fewest_for(level: float) -> int:
    """Return how many queries must differ, all in favor of one run, for a p-value below a level.

    With fewer no paired test over queries can find a difference, however many queries are equal.
    The two-sided sign test of n such queries has p = 2 / 2^n.

    Source: McNemar, Note on the Sampling Error of the Difference Between Correlated Proportions or
    Percentages, 1947, in its exact form.

    Example:
        >>> fewest_for(0.05)
        6
    """
    return math.floor(math.log2(2 / level)) + 1


def _differences(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    difference = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    return difference.mean(axis=1) if difference.ndim == 2 else difference


def corrected_t(
    differences: Sequence[float], test_share: float, *, level: float = 0.95
) -> tuple[float, float, float]:
    """Return the interval and the p-value of a mean difference over overlapping random splits.

    Splits of one data set share rows, so that their differences are not independent, and an
    ordinary t test finds too much. Its variance is enlarged by the test rows per training row.

    Source: Nadeau and Bengio, Inference for the Generalization Error, 2003, Eq. 13.

    Args:
        differences: One for each of S splits.
        test_share: Test rows per training row of a split.
        level: Probability of the interval.

    Returns:
        Lower end, upper end, two-sided p-value. With one split: (-inf, inf, 1).

    Example:
        >>> low, high, p = corrected_t([1.0, 2.0, 3.0], 0.0)
        >>> round(low, 3), round(high, 3), round(p, 4)
        (-0.484, 4.484, 0.0742)
    """
    values = np.asarray(differences, np.float64)
    if len(values) < 2:
        return -math.inf, math.inf, 1.0
    mean = float(values.mean())
    error = math.sqrt((1 / len(values) + test_share) * values.var(ddof=1))
    if error == 0:
        return mean, mean, float(mean == 0)
    freedom = len(values) - 1
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    return mean - half, mean + half, float(2 * stats.t.sf(abs(mean) / error, freedom))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for the number of comparisons.

    Below a level, the chance that any of the comparisons is a false alarm is below it, too.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.

    Args:
        p_values: One for each comparison.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected
