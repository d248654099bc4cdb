"""The shuffle by number is a permutation, and looks like one drawn at random."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from hardpairs.batches.shuffle import shuffle_keys, shuffled

SEEDS = 2000


@given(count=st.integers(1, 500), seed=st.integers(0, 2**40), number=st.integers(0, 99))
@settings(deadline=None)
def test_is_a_permutation_and_any_position_alone_gives_its_value(count, seed, number):
    keys = shuffle_keys(seed, number)
    whole = shuffled(np.arange(count), count, keys)
    assert (np.sort(whole) == np.arange(count)).all()
    assert shuffled(np.array([count - 1]), count, keys)[0] == whole[-1]


def test_large_and_prime_sizes():
    for count in (2**31 - 1, 3_000_017):
        positions = np.arange(count - 100_000, count)
        values = shuffled(positions, count, shuffle_keys(1, 2))
        assert (
            len(np.unique(values)) == len(positions) and values.min() >= 0 and values.max() < count
        )
        assert abs(values.mean() / count - 0.5) < 0.01


def is_plausible(counts: np.ndarray) -> bool:
    """Whether counts could be uniform: chi-square, rejected one time in a million."""
    expected = counts.sum() / counts.size
    return ((counts - expected) ** 2 / expected).sum() < chi2.ppf(1 - 1e-6, counts.size - 1)


def test_each_position_and_each_pair_of_neighbors_is_uniform_over_seeds():
    for count in (5, 12, 97):
        orders = np.stack(
            [shuffled(np.arange(count), count, shuffle_keys(seed, 0)) for seed in range(SEEDS)]
        )
        assert all(
            is_plausible(np.bincount(orders[:, position], minlength=count))
            for position in range(count)
        )
        if count < 20:
            pairs = np.bincount(
                orders[:, 0] * count + orders[:, 1], minlength=count * count
            ).reshape(count, count)
            assert is_plausible(pairs[~np.eye(count, dtype=bool)])


def test_epochs_are_not_alike():
    """Between two random permutations of n one position in n keeps its value, and ranks are not correlated."""
    count = 50_000
    first, second = (
        shuffled(np.arange(count), count, shuffle_keys(0, number)) for number in (0, 1)
    )
    assert (first == second).sum() < 10
    assert (
        abs(np.corrcoef(first, second)[0, 1]) < 0.02
        and abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.02
    )


def test_the_order_is_that_of_earlier_versions():
    """A run that another version of this project began goes on in the same order."""
    keys = shuffle_keys(1, 2)
    assert shuffled(np.arange(10), 10, keys).tolist() == [3, 0, 8, 6, 4, 7, 1, 5, 2, 9]
    some = shuffled(np.array([0, 5, 399_999_999]), 400_000_000, keys)
    assert some.tolist() == [111379042, 257019636, 188677664]
