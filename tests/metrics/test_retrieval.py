"""Metrics by hand, against a per-query loop, and at chance for a constant model."""

import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.metrics.retrieval import beats_hard_pairs, rank_positives, retrieval_metrics


def at(*degrees):
    """Unit vectors on a circle."""
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


def test_by_hand_with_two_captions_per_image():
    images, image_groups = at(0, 90, 180), np.array([1, 2, 3])
    texts, text_groups = at(10, 78, 100, 95, 170, 60), np.array([1, 1, 2, 2, 3, 3])
    metrics = retrieval_metrics(images, texts, image_groups, text_groups, ks=(1, 2, 5))
    # best own caption is first for every image; of the six captions, those at 78 and 60 degrees find a wrong image first
    assert metrics["image_to_text_R@1"] == 1 and metrics["image_to_text_median_rank"] == 1
    assert metrics["text_to_image_R@1"] == pytest.approx(4 / 6) and metrics[
        "text_to_image_R@2"
    ] == pytest.approx(5 / 6)
    assert metrics["text_to_image_mean_rank"] == pytest.approx((1 + 2 + 1 + 1 + 1 + 3) / 6)
    assert metrics["text_to_image_MRR"] == pytest.approx((1 + 1 / 2 + 1 + 1 + 1 + 1 / 3) / 6)
    # image 1: captions in order 10 (own), 60, 78 (own)...: AP = (1 + 2/3) / 2; image 2: 95, 100 first: 1; image 3: 170, 100, 95, 78, 60: (1 + 2/5) / 2
    assert metrics["image_to_text_mAP@10"] == pytest.approx(
        ((1 + 2 / 3) / 2 + 1 + (1 + 2 / 5) / 2) / 3
    )


def loop_rank(query, gallery, group, groups):
    scores = gallery @ query
    best = scores[groups == group].max()
    return 1 + sum(scores[j] >= best for j in range(len(gallery)) if groups[j] != group)


def test_against_a_loop_over_queries():
    rng = np.random.default_rng(0)
    images, texts = (
        rng.integers(-2, 3, (1100, 4)).astype(np.float32) for _ in range(2)
    )  # exact products, many ties
    groups, text_groups = rng.integers(0, 300, 1100), rng.integers(0, 300, 1100)
    ranking = rank_positives(images, texts, groups, text_groups)
    for i in range(0, 1100, 37):
        if ranking.has_positive[i]:
            assert ranking.ranks[i] == loop_rank(images[i], texts, groups[i], text_groups)
    assert (ranking.has_positive == np.isin(groups, text_groups)).all()


@pytest.mark.parametrize("ties", ["pessimistic", "expected"])
def test_a_constant_model_is_at_chance_at_best(ties):
    same = np.ones((20, 3))
    groups = np.arange(20) // 2  # two of each
    metrics = retrieval_metrics(same, same, groups, groups, ties=ties)
    chance = {1: 2 / 20, 5: 1 - (18 * 17 * 16 * 15 * 14) / (20 * 19 * 18 * 17 * 16)}
    if ties == "expected":
        assert metrics["image_to_text_R@1"] == pytest.approx(chance[1]) and metrics[
            "image_to_text_R@5"
        ] == pytest.approx(chance[5])
        assert metrics["image_to_text_mean_rank"] == pytest.approx(1 + 18 / 3)
        expected = sum((2 * (20 - r)) / (20 * 19) / r for r in range(1, 20))
        assert metrics["image_to_text_MRR"] == pytest.approx(expected)
    else:
        assert metrics["image_to_text_R@1"] == metrics["image_to_text_R@10"] == 0


def test_more_places_than_gallery_and_queries_without_positive():
    metrics = retrieval_metrics(at(0, 90), at(0), np.array([1, 2]), np.array([1]), ks=(5,))
    assert metrics["image_to_text_R@5"] == 1  # the second image has no caption here and is left out


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_embeddings_are_an_error(bad):
    images = at(0, 90)
    images[1, 0] = bad
    with pytest.raises(UserError, match=r"rows \[1\]") as error:
        retrieval_metrics(images, at(0, 90), np.arange(2), np.arange(2))
    assert error.value.code == 6


def test_empty_sides_and_wrong_shapes():
    for images, groups in (
        (np.zeros((0, 2)), np.arange(0)),
        (at(0, 1), np.arange(3)),
        (np.zeros((2, 3)), np.arange(2)),
    ):
        with pytest.raises(ValueError):
            retrieval_metrics(images, at(0, 90), groups, np.arange(2))
    with pytest.raises(ValueError, match="no query has a positive"):
        retrieval_metrics(at(0), at(0), np.array([1]), np.array([2]))


def test_beating_hard_pairs():
    images, texts = at(0, 90, 180), at(5, 60, 180)
    partners = np.array([[1, -1], [0, 2], [-1, -1]])
    to_text, to_image = beats_hard_pairs(images, texts, partners)
    assert to_text.tolist() == [True, True, True]
    assert to_image.tolist() == [True, True, True]
    assert beats_hard_pairs(at(0, 90), at(0, 0), np.array([[1], [0]]))[0].tolist() == [
        False,
        False,
    ]  # a tie loses
