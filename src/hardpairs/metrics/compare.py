"""Is one run better than another? Paired tests over the same queries."""

from __future__ import annotations

import numpy as np


def paired_permutation_test(
    ours: np.ndarray, theirs: np.ndarray, *, rounds: int = 10_000, seed: int = 0
) -> float:
    """Two-sided p-value of the mean difference of paired values under random swaps (sign flips of the differences).

    Args:
        ours, theirs: (Q,) per-query values, such as hits of R@1; (Q, S) with one column per seed uses each query's mean, so that
            queries are the units that are swapped.

    Returns:
        (1 + rounds at least as extreme) / (1 + rounds): never 0.
    """
    difference = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    if difference.ndim == 2:
        difference = difference.mean(axis=1)
    difference = difference[difference != 0]  # a swap of equal values changes nothing
    observed = abs(difference.sum())
    rng = np.random.default_rng(seed)
    extreme = 0
    for start in range(0, rounds, 500):
        signs = (
            rng.integers(0, 2, (min(500, rounds - start), len(difference)), dtype=np.int8) * 2 - 1
        )
        extreme += int((np.abs(signs @ difference) >= observed - 1e-12).sum())
    return (1 + extreme) / (1 + rounds)


def bootstrap_interval(
    ours: np.ndarray, theirs: np.ndarray, *, level: float = 0.95, rounds: int = 2_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of the mean paired difference over resampled queries. Shapes as in ``paired_permutation_test``."""
    difference = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    if difference.ndim == 2:
        difference = difference.mean(axis=1)
    rng = np.random.default_rng(seed)
    means = [
        difference[rng.integers(0, len(difference), len(difference))].mean() for _ in range(rounds)
    ]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
