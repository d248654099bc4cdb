"""A guesser's metrics: by hand, against all orders of a small gallery, and against a constant model."""

from itertools import permutations

import numpy as np
import pytest

from hardpairs.metrics.chance import chance_metrics
from hardpairs.metrics.retrieval import retrieval_metrics


def test_one_positive_is_minis_closed_form():
    metrics = chance_metrics(32, np.ones(64, int), "t")
    assert (
        metrics["t_R@1"] == pytest.approx(1 / 32)
        and metrics["t_R@5"] == pytest.approx(5 / 32)
        and metrics["t_R@10"] == pytest.approx(10 / 32)
    )
    assert round(metrics["t_MRR"], 6) == 0.126828 == round(sum(1 / i for i in range(1, 33)) / 32, 6)
    assert metrics["t_mean_rank"] == 16.5


def test_a_gallery_of_one_and_more_places_than_items():
    metrics = chance_metrics(1, np.ones(3, int), "t")
    assert set(metrics.values()) == {1.0}
    assert chance_metrics(3, np.ones(1, int), "t", ks=(5,))["t_R@5"] == 1


@pytest.mark.parametrize("positives", [[1], [2], [3, 1], [5]])
def test_against_every_order(positives):
    orders = list(permutations(range(5)))
    first = {
        count: [1 + min(order.index(item) for item in range(count)) for order in orders]
        for count in positives
    }
    metrics = chance_metrics(5, np.array(positives), "t", ks=(1, 2, 4))
    for k in (1, 2, 4):
        assert metrics[f"t_R@{k}"] == pytest.approx(
            np.mean([np.mean(np.array(first[c]) <= k) for c in positives])
        )
    assert metrics["t_MRR"] == pytest.approx(
        np.mean([np.mean(1 / np.array(first[c])) for c in positives])
    )
    assert metrics["t_mean_rank"] == pytest.approx(np.mean([np.mean(first[c]) for c in positives]))


def test_is_what_a_constant_model_expects():
    images, texts = np.repeat(np.arange(7), 3)[:19], np.repeat(np.arange(7), 2)
    constant = retrieval_metrics(np.ones((19, 2)), np.ones((14, 2)), images, texts, ties="expected")
    counts = np.bincount(images)
    for name, value in chance_metrics(19, counts[texts], "text_to_image").items():
        assert constant[name] == pytest.approx(value), name


def test_queries_without_a_positive_are_left_out_and_nonsense_is_refused():
    assert chance_metrics(4, np.array([0, 1]), "t") == chance_metrics(4, np.array([1]), "t")
    for bad in ([0], [5], []):
        with pytest.raises(ValueError, match="from 1 to 4"):
            chance_metrics(4, np.array(bad, int), "t")
