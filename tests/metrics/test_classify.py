"""Zero-shot accuracy and the linear probe."""

import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from hardpairs.metrics.classify import STRENGTHS, accuracy, hold_out, linear_probe


def test_accuracy_is_scikit_learns():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(200, 8)), rng.integers(0, 8, 200)
    found = accuracy(scores, labels)
    assert found["top-1"] == pytest.approx(
        top_k_accuracy_score(labels, scores, k=1, labels=range(8))
    )
    assert found["top-5"] == pytest.approx(
        top_k_accuracy_score(labels, scores, k=5, labels=range(8))
    )
    by_class = [(scores[labels == c].argmax(axis=1) == c).mean() for c in range(8)]
    assert found["mean_class_top-1"] == pytest.approx(np.mean(by_class))


def test_equal_scores_are_no_answer():
    assert accuracy(np.zeros((4, 3)), np.array([0, 1, 2, 0])) == {
        "top-1": 0.0,
        "mean_class_top-1": 0.0,
    }
    with pytest.raises(ValueError, match="not numbers"):
        accuracy(np.full((1, 2), np.nan), np.array([0]))
    with pytest.raises(ValueError, match="no column"):
        accuracy(np.zeros((1, 2)), np.array([2]))


def test_a_probe_learns_what_is_linear():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 12))

    def rows(count):
        labels = rng.integers(0, 5, count)
        return centres[labels] + 0.3 * rng.normal(size=(count, 12)), labels

    found = linear_probe(rows(100), rows(50), rows(200))
    assert found["top-1"] > 0.97 and found["strength"] in STRENGTHS
    noise = rng.normal(size=(150, 12)), rng.integers(0, 5, 150)
    assert linear_probe(noise, noise, rows(200))["top-1"] < 0.6


def test_some_of_each_class_are_held_out():
    labels = np.repeat([0, 1, 2, 3], [10, 5, 2, 1])
    held = hold_out(labels)
    assert [int(held[labels == c].sum()) for c in range(4)] == [2, 1, 1, 0]
