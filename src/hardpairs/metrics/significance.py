"""Paired tests over the same queries: whether one run is better than another."""

from __future__ import annotations

import numpy as np


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


def _differences(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    difference = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    return difference.mean(axis=1) if difference.ndim == 2 else difference
