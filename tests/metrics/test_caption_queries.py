"""MiniCLIP's protocol by hand, against its own way of counting (argsort, loops), and where it is lenient."""

import doctest

import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.metrics import caption_queries, lexical
from hardpairs.metrics.caption_queries import (
    caption_query_bag_of_words,
    caption_query_ceiling,
    caption_query_chance,
    caption_query_metrics,
    caption_query_ranks,
)


def at(*degrees):
    """Unit vectors on a circle."""
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1).astype(
        np.float32
    )


def test_by_hand():
    """Image 5 was embedded as 0 and 20 degrees, so it lies at 10; image 2 at 90, image 9 at 180."""
    images = np.array([5, 5, 2, 2, 9, 9])
    ranks = caption_query_ranks(at(0, 20, 90, 90, 180, 180), at(12, 60, 100, 40, 170, 80), images)
    assert ranks.tolist() == [0, 1, 0, 1, 0, 2]
    metrics = caption_query_metrics(ranks)
    assert metrics["R@1"] == 50 and metrics["R@5"] == 100
    assert (
        metrics["MRR"] == pytest.approx((1 + 1 / 2 + 1 + 1 / 2 + 1 + 1 / 3) / 6)
        and metrics["MedR"] == 1.5
    )


def test_against_argsort_over_means(monkeypatch):
    monkeypatch.setattr(caption_queries, "BLOCK_ROWS", 16)
    rng = np.random.default_rng(0)
    images = rng.integers(100, 125, 90)
    image, text = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in rng.normal(size=(2, 90, 6))
    )
    names = list(dict.fromkeys(images.tolist()))
    mean = np.stack([image[images == name].mean(axis=0) for name in names])
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    expected = [
        int(np.flatnonzero(np.argsort(-(mean @ query), kind="stable") == names.index(i))[0])
        for query, i in zip(text, images, strict=True)
    ]
    assert caption_query_ranks(image, text, images).tolist() == expected


def test_a_constant_model_scores_chance_here():
    same = np.ones((32, 2), np.float32) / np.sqrt(2)
    assert caption_query_metrics(caption_query_ranks(same, same, np.arange(32)))[
        "MRR"
    ] == pytest.approx(caption_query_chance(32)["MRR"])
    assert caption_query_chance(32) == pytest.approx(
        {"R@1": 3.125, "R@5": 15.625, "R@10": 31.25, "MRR": 0.126828}, abs=1e-6
    )
    assert caption_query_chance(1) == {"R@1": 100, "R@5": 100, "R@10": 100, "MRR": 1}


def test_equal_scores_go_by_first_appearance():
    same = np.tile(at(30), (4, 1))
    assert caption_query_ranks(same, same, np.array([9, 9, 2, 5])).tolist() == [0, 0, 1, 2]


def test_one_image():
    assert caption_query_metrics(caption_query_ranks(at(0, 0), at(90, 10), np.array([4, 4]))) == {
        "R@1": 100,
        "R@5": 100,
        "R@10": 100,
        "MRR": 1,
        "MedR": 1,
    }
    assert doctest.testmod(caption_queries).failed == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_embeddings_are_an_error(bad):
    rows = at(0, 90)
    rows[0, 1] = bad
    for image, text in ((rows, at(0, 90)), (at(0, 90), rows)):
        with pytest.raises(UserError) as error:
            caption_query_ranks(image, text, np.arange(2))
        assert error.value.code == 6


def test_wrong_shapes_and_nothing():
    for image, text, images in (
        (at(0), at(0, 1), np.arange(2)),
        (at(0), at(0), np.arange(2)),
        (np.zeros((0, 2)), np.zeros((0, 2)), np.arange(0)),
    ):
        with pytest.raises(ValueError, match="per caption"):
            caption_query_ranks(image, text, images)


def test_bag_of_words_by_hand():
    """Four captions of two images; "red cup" asks for "cup", "tree" for "fir"."""
    found = caption_query_bag_of_words(["red cup", "cup", "tree", "fir"], np.array([0, 0, 1, 1]))
    # the cups find each other at once; tree and fir share no word, and tie with the two others of three
    assert found["pessimistic"] == {
        "R@1": 50,
        "R@5": 100,
        "R@10": 100,
        "MRR": pytest.approx((1 + 1 + 1 / 3 + 1 / 3) / 4),
    }
    assert found["optimistic"] == {"R@1": 100, "R@5": 100, "R@10": 100, "MRR": 1}
    assert found["expected"]["R@1"] == pytest.approx(100 * (1 + 1 + 1 / 3 + 1 / 3) / 4)
    assert found["expected"]["MRR"] == pytest.approx((1 + 1 + 2 * (1 + 1 / 2 + 1 / 3) / 3) / 4)


def one_order(captions, images, rng):
    """The seed's way with one random order of ties: a full sort, then the first caption of the same image."""
    bags = [{word: caption.split().count(word) for word in caption.split()} for caption in captions]

    def cosine(one, other):
        lengths = sum(v * v for v in one.values()) * sum(v * v for v in other.values())
        return (
            sum(count * other.get(word, 0) for word, count in one.items()) / np.sqrt(lengths)
            if lengths
            else 0.0
        )

    ranks = []
    for i, bag in enumerate(bags):
        others = [j for j in rng.permutation(len(bags)) if j != i]
        others.sort(key=lambda j: -round(cosine(bag, bags[j]), 12))
        ranks += [next((rank for rank, j in enumerate(others) if images[j] == images[i]), None)]
    return np.array([rank for rank in ranks if rank is not None])


def test_bag_of_words_holds_every_order_of_ties(monkeypatch):
    monkeypatch.setattr(lexical, "MOST_SCORES", 5 * 24)  # several blocks
    rng = np.random.default_rng(1)
    captions = [" ".join(rng.choice(list("abcdefgh"), rng.integers(1, 4))) for _ in range(24)]
    images = np.repeat(np.arange(12), 2)
    images[-1] = 99  # two images have one caption: no query of theirs counts
    bounds = caption_query_bag_of_words(captions, images)
    drawn = [caption_query_metrics(one_order(captions, images, rng)) for _ in range(300)]
    for name in ("R@1", "R@5", "R@10", "MRR"):
        values = [metrics[name] for metrics in drawn]
        assert (
            bounds["pessimistic"][name] - 1e-9 <= min(values)
            and max(values) <= bounds["optimistic"][name] + 1e-9
        )
        assert np.mean(values) == pytest.approx(
            bounds["expected"][name], abs=4 * np.std(values) / np.sqrt(300) + 1e-9
        )


def test_no_image_with_two_captions_has_no_bag_of_words():
    assert caption_query_bag_of_words(["a", "b"], np.array([1, 2])) == {}


def test_ceiling_counts_every_caption():
    """ "Dog" of two images, twice on the first: three queries that are right half the time, and one that always is."""
    ceiling = caption_query_ceiling(["dog", "Dog ", "dog", "cat"], np.array([0, 0, 1, 1]))
    assert ceiling == pytest.approx(
        {"R@1": 100 * (3 / 2 + 1) / 4, "R@5": 100, "R@10": 100, "MRR": (3 * 0.75 + 1) / 4}
    )
