"""Gallery metrics by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from evaluation.gallery import gallery_metrics
from evaluation.neighbours import nearest, precision_at


def test_by_hand():
    similarity = np.array([[0.9, 0.8, 0.7, 0.6], [0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5]])
    found = gallery_metrics(similarity, np.array([0, 1, 9]), np.array([0, 1, 0, 1]), weights={1: 600, 2: 300})
    assert found["queries"] == 2 and found["without_match"] == 1 and found["gallery"] == 4
    assert found["top-1"] == 1.0 and found["top-2"] == 1.0 and found["score"] == 900
    assert found["mAP"] == pytest.approx(((1 + 2 / 3) / 2 + (1 + 2 / 3) / 2) / 2) and found["R-precision"] == 0.5


def test_equal_similarities_count_against_the_model():
    found = gallery_metrics(np.zeros((1, 10)), np.array([1]), np.array([1] + [0] * 9))
    assert found["top-1"] == found["top-5"] == 0 and found["top-10"] == 1 and found["mAP"] == 0.1


def test_average_precision_is_scikit_learns():
    rng = np.random.default_rng(0)
    similarity, labels, gallery = rng.normal(size=(20, 60)), rng.integers(0, 6, 20), rng.integers(0, 6, 60)
    expected = np.mean([average_precision_score(gallery == label, row) for label, row in zip(labels, similarity, strict=True)])
    assert gallery_metrics(similarity, labels, gallery)["mAP"] == pytest.approx(expected)


def test_nobody_to_find_and_no_number():
    assert gallery_metrics(np.zeros((2, 3)), np.array([5, 6]), np.array([0, 1, 2])) == {"queries": 0, "without_match": 2, "gallery": 3}
    with pytest.raises(ValueError, match="not numbers"):
        gallery_metrics(np.full((1, 1), np.nan), np.array([0]), np.array([0]))


@pytest.mark.parametrize("euclidean", [False, True])
def test_nearest_is_the_definition(euclidean):
    rng = np.random.default_rng(0)
    queries, references = rng.integers(-2, 3, (30, 4)).astype(np.float32), rng.integers(-2, 3, (50, 4)).astype(np.float32)  # many ties
    score = -np.linalg.norm(queries[:, None] - references[None], axis=2) if euclidean else queries @ references.T
    expected = np.stack([np.lexsort((np.arange(50), -row))[:7] for row in score])
    indices, scores = nearest(queries, references, 7, euclidean=euclidean)
    assert np.array_equal(indices, expected)
    np.testing.assert_allclose(scores, np.take_along_axis(score, expected, 1), rtol=1e-6)
    assert nearest(queries, references, 99)[0].shape == (30, 50)


def test_precision_of_links():
    found = precision_at(np.array([0, 1, 7]), np.array([0, 0, 1]), np.array([[0, 1], [0, 2], [0, 1]]), (1, 2))
    assert found == {"queries": 2, "without_match": 1, "precision@1": 0.5, "hit@1": 0.5, "precision@2": 0.75, "hit@2": 1.0}
