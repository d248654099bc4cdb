"""Agreement of clusters by hand."""

import numpy as np
import pytest

from hardpairs.metrics.clustering import compare_clusters


def test_pairs_and_sizes_by_hand():
    """Labels a a b b and one row without: clusters {a a b} and {b, none}."""
    numbers = compare_clusters(np.array([0, 0, 1, 1, -1]), np.array([7, 7, 7, 3, 3]))
    assert numbers["pair_precision"] == pytest.approx(1 / 3)  # of the pairs of 7, one is right
    assert numbers["pair_recall"] == 1 / 2 and numbers["pair_f1"] == pytest.approx(0.4)
    assert (numbers["labelled_rows"], numbers["labels"]) == (4, 2)
    counts = ("rows", "clusters", "largest_cluster", "singletons")
    assert [numbers[name] for name in counts] == [5, 2, 3, 0]


def test_equal_partitions_no_pairs_and_no_labels():
    labels = np.array([0, 0, 1])
    same = compare_clusters(labels, labels + 5)
    assert same["ari"] == same["nmi"] == same["pair_f1"] == 1
    single = compare_clusters(labels, np.arange(3))
    assert single["pair_precision"] == 1 and single["pair_recall"] == single["pair_f1"] == 0
    assert set(compare_clusters(np.full(3, -1), labels)) == {
        *("rows", "clusters", "largest_cluster", "singletons")
    }
