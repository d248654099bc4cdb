"""Nearest neighbors against their definition, and the precision of links by hand."""

import numpy as np
import pytest

from hardpairs.metrics import neighbors
from hardpairs.metrics.neighbors import nearest, precision_at


@pytest.mark.parametrize("euclidean", [False, True])
@pytest.mark.parametrize("at_once", [1, 7 * 50, 1 << 24])
def test_nearest_is_the_definition(monkeypatch, euclidean, at_once):
    monkeypatch.setattr(neighbors, "BLOCK_SIMILARITIES", at_once)
    rng = np.random.default_rng(0)
    queries, references = (
        rng.integers(-2, 3, (30, 4)).astype(np.float32),
        rng.integers(-2, 3, (50, 4)).astype(np.float32),
    )  # many ties
    score = (
        -np.linalg.norm(queries[:, None] - references[None], axis=2)
        if euclidean
        else queries @ references.T
    )
    expected = np.stack([np.lexsort((np.arange(50), -row))[:7] for row in score])
    indices, scores = nearest(queries, references, 7, euclidean=euclidean)
    assert np.array_equal(indices, expected)
    np.testing.assert_allclose(scores, np.take_along_axis(score, expected, 1), rtol=1e-6)
    assert nearest(queries, references, 99)[0].shape == (30, 50) and nearest(
        queries, references[:0], 3
    )[0].shape == (30, 0)
    assert nearest(0 * queries, references, 3)[0].tolist() == [[0, 1, 2]] * 30 or euclidean
    with pytest.raises(ValueError, match="not numbers"):
        nearest(queries * np.nan, references, 3)


def test_precision_of_links():
    found = precision_at(
        np.array([0, 1, 7]), np.array([0, 0, 1]), np.array([[0, 1], [0, 2], [0, 1]]), (1, 2)
    )
    assert found == {
        "queries": 2,
        "without_match": 1,
        "precision@1": 0.5,
        "hit@1": 0.5,
        "precision@2": 0.75,
        "hit@2": 1.0,
    }
