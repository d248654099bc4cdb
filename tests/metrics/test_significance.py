"""Paired tests: a difference and none."""

import numpy as np
import pytest
import scipy.stats

from hardpairs.metrics.significance import (
    bootstrap_interval,
    corrected_t,
    fewest_for,
    holm,
    paired_permutation_test,
)


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


def test_the_fewest_queries_are_those_of_the_test():
    fewest = fewest_for(0.05)
    for queries in (40, 1000):
        ours = np.arange(queries) < fewest
        assert paired_permutation_test(ours, np.zeros(queries)) < 0.05
        assert paired_permutation_test(ours & (np.arange(queries) > 0), np.zeros(queries)) > 0.05


def test_corrected_t_is_wider_than_students_by_the_test_share():
    differences = [0.4, 1.1, -0.2, 0.9, 0.7]
    plain = scipy.stats.ttest_1samp(differences, 0)
    low, high, p = corrected_t(differences, 0.0)
    assert p == pytest.approx(plain.pvalue)
    assert (low, high) == pytest.approx(tuple(plain.confidence_interval()))
    wide = corrected_t(differences, 0.25)
    assert wide[1] - wide[0] == pytest.approx((high - low) * np.sqrt((1 / 5 + 0.25) / (1 / 5)))
    assert wide[2] > p
    assert corrected_t([1.0], 0.2) == (-np.inf, np.inf, 1.0)
    assert corrected_t([0.0, 0.0], 0.2) == (0.0, 0.0, 1.0)


def test_holm_keeps_the_order_and_never_exceeds_one():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []
