"""The exact tree where float32 products cannot order similarities, and limits by their definition."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage

from hardpairs.core.vectors import unit_rows
from hardpairs.metrics import spanning
from hardpairs.metrics.linkage import single_linkage


def test_the_last_rounding_is_found(monkeypatch):
    """Rows a few float32 steps apart: a product in float32 cannot order their similarities, the float64 sum must."""
    monkeypatch.setattr(spanning, "BLOCK", 32)
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=64) + 1e-4 * rng.normal(size=(200, 64))).astype(np.float32)
    unit = (
        (rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True))
        .astype(np.float32)
        .astype(np.float64)
    )
    similar = np.array([[(unit[i] * unit[j]).sum() for j in range(200)] for i in range(200)])
    expected = np.sort(linkage(2 - similar[np.triu_indices(200, 1)], "single")[:, 2] - 1)
    np.testing.assert_allclose(single_linkage(rows).heights, np.maximum(expected, 0), atol=1e-14)


@pytest.mark.parametrize("spread", [0.02, 1e-3])
def test_rows_that_are_almost_one_cost_few_sums(monkeypatch, spread):
    """Nearly all float32 products pass the limits then; float64 products of whole blocks leave few pairs to be summed one by one."""
    monkeypatch.setattr(spanning, "BLOCK", 64)
    summed, with_similarity = [], spanning.with_similarity
    monkeypatch.setattr(
        spanning,
        "with_similarity",
        lambda unit, left, right: summed.append(len(left)) or with_similarity(unit, left, right),
    )
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=256) + spread * rng.normal(size=(400, 256))).astype(np.float32)
    tree = single_linkage(rows)
    unit = unit_rows(rows).astype(np.float64)
    expected = np.sort(linkage((2 - unit @ unit.T)[np.triu_indices(400, 1)], "single")[:, 2] - 1)
    np.testing.assert_allclose(tree.heights, np.maximum(expected, 0), atol=1e-14)
    assert sum(summed) < 20 * 400  # of 79,800 pairs


def test_gaps_are_the_weakest_edges_between_rows():
    """Against the definition: the weakest edge on the path in the tree."""
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(40, 8)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    tree = spanning.spanning_tree(unit)
    paths = np.full((40, 40), -np.inf)
    paths[tree.left, tree.right] = paths[tree.right, tree.left] = tree.similarity
    for k in range(40):  # widest paths (Floyd and Warshall)
        paths = np.maximum(paths, np.minimum(paths[:, k, None], paths[None, k]))
    left, right = np.triu_indices(40, 1)
    weakest = spanning.WeakestEdge(*spanning.merge_order(tree, 40))
    np.testing.assert_array_equal(weakest(left, right), paths[left, right])
    np.testing.assert_array_equal(
        spanning.inner_limits(np.array([3.0, 1.0, 2.0])),
        [[np.inf, 3, 1, 1], [np.inf, np.inf, 1, 1], [np.inf] * 3 + [2], [np.inf] * 4],
    )
