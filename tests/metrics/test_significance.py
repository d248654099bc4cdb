"""Paired tests: a difference and none."""

import numpy as np

from hardpairs.metrics.significance import bootstrap_interval, paired_permutation_test


def test_paired_tests_see_a_difference_and_no_difference():
    rng = np.random.default_rng(0)
    base = rng.random(2000) < 0.5
    better = base | (rng.random(2000) < 0.1)
    other = rng.permutation(base)
    assert paired_permutation_test(better, base) < 0.001
    assert paired_permutation_test(base, base) == 1.0
    assert paired_permutation_test(other, base) > 0.01
    low, high = bootstrap_interval(better, base)
    assert 0 < low < (better.mean() - base.mean()) < high
    seeds = np.stack([better, better], axis=1)
    assert paired_permutation_test(
        seeds, np.stack([base, base], axis=1)
    ) == paired_permutation_test(better, base)


def test_equal_runs_and_the_smallest_p():
    values = np.arange(50) % 2
    assert paired_permutation_test(values, values, rounds=20) == 1
    assert paired_permutation_test(np.ones(50), np.zeros(50), rounds=99) == 0.01
    assert bootstrap_interval(np.ones(50), np.zeros(50), rounds=9) == (1, 1)
