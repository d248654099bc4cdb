"""Single linkage against scipy's, cuts against scikit-learn's DBSCAN and ARI."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import pair_confusion_matrix

from hardpairs.metrics import spanning
from hardpairs.metrics.linkage import Tree, all_cuts, best_threshold, single_linkage


def groups(count, width=24, seed=0, spread=0.6):
    """(embeddings, labels) of clusters of 1 to 9 rows."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(count), rng.integers(1, 10, count))[:count]
    rows = rng.normal(size=(count, width))[labels] + spread * rng.normal(size=(count, width))
    order = rng.permutation(count)
    return rows[order].astype(np.float32), labels[order]


@pytest.mark.parametrize(("block", "waiting"), [(2048, 1 << 20), (16, 1 << 20), (37, 5)])
@pytest.mark.parametrize("seed", range(4))
def test_heights_are_scipys(monkeypatch, block, waiting, seed):
    monkeypatch.setattr(spanning, "BLOCK", block)
    monkeypatch.setattr(spanning, "PENDING", waiting)
    rows, _ = groups(300, seed=seed)
    rows[7] = rows[200] = rows[3]  # equal rows
    tree = single_linkage(rows)
    expected = linkage(pdist(rows.astype(np.float64), "cosine"), "single")[:, 2]
    np.testing.assert_allclose(tree.heights, expected, atol=2e-7)
    joined = Tree(tree.left, tree.right, tree.heights).labels(2.0)
    assert (joined == 0).all() and len(tree) == 300


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.2, 0.4, 1.0])
def test_labels_are_dbscans(threshold):
    rows, _ = groups(400)
    ours = single_linkage(rows).labels(threshold)
    theirs = DBSCAN(eps=max(threshold, 1e-12), min_samples=1, metric="cosine").fit_predict(
        rows.astype(np.float64)
    )
    assert adjusted_rand_score(ours, theirs) == 1 and ours.max() == theirs.max()
    assert np.array_equal(
        np.unique(ours, return_index=True)[1], np.sort(np.unique(ours, return_index=True)[1])
    )  # by first row


@pytest.mark.parametrize("seed", range(3))
def test_every_cut_is_counted_as_scikit_learn_counts_it(seed):
    rows, labels = groups(150, seed=seed, spread=0.9)
    labels[:10] = -1
    tree = single_linkage(rows)
    cuts = all_cuts(tree, labels)
    known = labels >= 0
    for at in range(len(cuts.thresholds)):
        found = tree.labels(cuts.thresholds[at])
        assert found.max() + 1 == cuts.clusters[at]
        assert cuts.ari[at] == pytest.approx(
            adjusted_rand_score(labels[known], found[known]), abs=1e-12
        )
        (_, wrong), (missed, right) = pair_confusion_matrix(labels[known], found[known])
        assert cuts.recall[at] == pytest.approx(right / (right + missed))
        assert cuts.precision[at] == pytest.approx(right / (right + wrong) if right + wrong else 1)
    threshold, ari = best_threshold(tree, labels)
    assert (
        ari
        == cuts.ari.max()
        == pytest.approx(adjusted_rand_score(labels[known], tree.labels(threshold)[known]))
    )


def test_never_below_a_random_search_of_thresholds():
    rows, labels = groups(200, spread=0.9)
    tree = single_linkage(rows)
    tries = np.random.default_rng(0).uniform(0.01, 1, 300)
    assert best_threshold(tree, labels)[1] >= max(
        adjusted_rand_score(labels, tree.labels(t)) for t in tries
    )


def test_the_middle_of_the_widest_best_range_is_taken():
    tree = Tree(np.array([0, 2, 0]), np.array([1, 3, 2]), np.array([0.1, 0.2, 0.7]))
    threshold, ari = best_threshold(tree, np.array([0, 0, 1, 1]))
    assert (
        ari == 1
        and threshold == pytest.approx(0.45)
        and all_cuts(tree, np.array([0, 0, 1, 1])).best()[1:] == pytest.approx((0.2, 0.7))
    )


@pytest.mark.parametrize(
    ("labels", "clusters"),
    [([0, 1, 2, 3], 4), ([5, 5, 5, 5], 1), ([-1, -1, -1, -1], None)],
)
def test_trivial_partitions(labels, clusters):
    rows, _ = groups(4, seed=3)
    tree = single_linkage(rows)
    threshold, ari = best_threshold(tree, np.array(labels))
    assert ari == 1
    if clusters:
        assert tree.labels(threshold).max() + 1 == clusters


def test_one_row_and_two():
    assert single_linkage(np.ones((1, 3))).labels(0.5).tolist() == [0]
    assert single_linkage(np.array([[1.0, 0], [0, 1]])).heights.tolist() == [1.0]


def test_all_rows_equal(monkeypatch):
    monkeypatch.setattr(spanning, "BLOCK", 8)
    tree = single_linkage(np.ones((50, 4)))
    assert tree.heights == pytest.approx(np.zeros(49), abs=1e-6) and (tree.labels(1e-6) == 0).all()


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((0, 4)),
        np.zeros(4),
        np.array([[1.0, 0], [np.nan, 1]]),
        np.array([[1.0, 0], [0, 0]]),
    ],
)
def test_rows_that_cannot_be_linked(rows):
    with pytest.raises(ValueError, match=r"N > 0|zero or not finite, the first in row 1"):
        single_linkage(rows)
