"""The ceiling of repeated captions: by hand, and against the best of every possible model on small data."""

from itertools import permutations, product

import numpy as np
import pytest

from hardpairs.metrics.ceiling import folded, image_to_text_ceiling, sharing, text_to_image_ceiling
from hardpairs.metrics.retrieval import rank_scores, summarize


def test_by_hand():
    """Three trees, two dogs, a cup: a tree is found first once in three times."""
    texts, groups = np.array([7, 7, 7, 4, 4, 9]), np.arange(6)
    shared = sharing(texts, groups)
    assert shared.tolist() == [3, 3, 3, 2, 2, 1]
    ceiling = text_to_image_ceiling(shared, ks=(1, 2, 5))
    assert ceiling["text_to_image_R@1"] == pytest.approx((1 + 1 + 1) / 6)
    assert (
        ceiling["text_to_image_R@2"] == pytest.approx((2 + 2 + 1) / 6)
        and ceiling["text_to_image_R@5"] == 1
    )
    assert ceiling["text_to_image_MRR"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 + 1 / 2 + 1) / 6)


def test_equal_captions_are_right_for_each_other():
    """Two images have "cup", one has "Cup", which a model does not tell from it."""
    looks, texts, groups = np.array([7, 7, 7]), np.array([1, 1, 2]), np.arange(3)
    shared, right = sharing(looks, groups), sharing(texts, groups)
    assert right.tolist() == [2, 2, 1]
    ceiling = text_to_image_ceiling(shared, right, ks=(1, 2))
    assert ceiling["text_to_image_R@1"] == pytest.approx((2 / 3 + 2 / 3 + 1 / 3) / 3)
    assert ceiling["text_to_image_R@2"] == pytest.approx((1 + 1 + 2 / 3) / 3)
    against = image_to_text_ceiling(shared, groups, groups, right, ks=(1, 2))
    assert [against[f"image_to_text_R@{k}"] for k in (1, 2)] == [0, pytest.approx(2 / 3)]
    assert text_to_image_ceiling(right, right)["text_to_image_R@1"] == 1


def test_the_same_caption_twice_on_one_image_is_not_shared():
    assert sharing(np.array([5, 5, 6]), np.array([1, 1, 2])).tolist() == [1, 1, 1]
    assert text_to_image_ceiling(np.array([1]))["text_to_image_R@1"] == 1  # one image


def test_case_and_spacing_do_not_tell_captions_apart():
    assert folded("  Christmas\ttree ") == folded("christmas TREE") != folded("christmas-tree")


def test_an_image_answers_by_the_caption_that_the_fewest_share():
    text_groups = np.array([0, 0, 1, 2])
    shared = sharing(np.array([3, 8, 3, 3]), text_groups)  # group 0 has a caption of its own
    assert shared.tolist() == [3, 1, 3, 3]
    against = image_to_text_ceiling(shared, text_groups, np.array([0, 0, 1, 2]), ks=(1, 2, 3))
    assert [against[f"image_to_text_R@{k}"] for k in (1, 2, 3)] == [0.5, 0.5, 1] and against[
        "image_to_text_MRR"
    ] == pytest.approx((1 + 1 + 2 / 3) / 4)
    expected = image_to_text_ceiling(
        shared, text_groups, np.array([0, 0, 1, 2]), ks=(2,), ties="expected"
    )
    assert expected["image_to_text_R@2"] == pytest.approx((1 + 1 + 2 / 3 + 2 / 3) / 4)
    assert expected["image_to_text_MRR"] == pytest.approx((2 + 2 * (1 + 1 / 2 + 1 / 3) / 3) / 4)


def captions_of_three_images(seed):
    """(texts, groups) of distinct captions per image, drawn from three texts, so that many are shared."""
    rng = np.random.default_rng(seed)
    pairs = [
        (int(text), image)
        for image in range(3)
        for text in rng.choice(3, rng.integers(1, 3), replace=False)
    ]
    return np.array(pairs).T


@pytest.mark.parametrize("seed", range(6))
def test_no_model_passes_it_and_one_reaches_it_text_to_image(seed):
    """A model gives each text one order of the images; all combinations of orders are tried."""
    texts, groups = captions_of_three_images(seed)
    ceiling = text_to_image_ceiling(sharing(texts, groups), ks=(1, 2))
    best = dict.fromkeys(ceiling, 0.0)
    for orders in product(permutations(range(3)), repeat=3):
        scores = -np.array([orders[text] for text in texts], float)
        found = summarize(
            rank_scores(scores, groups[:, None] == np.arange(3)), "text_to_image", ks=(1, 2)
        )
        best = {name: max(value, found[name]) for name, value in best.items()}
    assert best == pytest.approx(ceiling)


@pytest.mark.parametrize("ties", ["pessimistic", "expected"])
@pytest.mark.parametrize("seed", range(6))
def test_no_model_passes_it_and_one_reaches_it_image_to_text(seed, ties):
    """A model gives each of the three texts one score for an image, equal texts the same; all weak orders are tried for each image."""
    texts, groups = captions_of_three_images(seed)
    ceiling = image_to_text_ceiling(
        sharing(texts, groups), groups, np.arange(3), ks=(1, 2), ties=ties
    )
    best = []
    for image in range(3):
        tried = []
        for levels in product(range(3), repeat=3):
            scores = np.array(levels, float)[texts][None, :]
            tried.append(
                summarize(
                    rank_scores(scores, groups[None, :] == image),
                    "image_to_text",
                    ks=(1, 2),
                    ties=ties,
                )
            )
        best.append({name: max(found[name] for found in tried) for name in ceiling})
    assert {
        name: np.mean([of_image[name] for of_image in best]) for name in ceiling
    } == pytest.approx(ceiling)


def test_nothing_to_ask_is_refused():
    with pytest.raises(ValueError, match="needs queries"):
        text_to_image_ceiling(np.zeros(0, int))
