"""Retrieval by words: scores by hand, ranks against a loop over queries and captions, ties, images without another caption."""

import doctest

import numpy as np
import pytest

from hardpairs.data.words import split_words
from hardpairs.metrics import lexical
from hardpairs.metrics.lexical import bag_of_words, bm25, rank_by_other_captions
from hardpairs.metrics.retrieval import summarize


def test_examples():
    assert doctest.testmod(lexical).failed == 0


def test_bag_of_words_by_hand():
    score = bag_of_words([["red", "cup"], ["cup"], ["tree", "tree", "cup"], []])
    # q = {red: 1, cup: 1}: dots 2, 1, 1, 0; squared lengths 2, 1, 5
    assert score([["red", "cup"], ["stranger"], []]).tolist() == [
        [2, 1, 1 / 5, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]


def test_equal_cosines_are_equal_numbers():
    """1 / sqrt(2) and 3 / sqrt(18) differ in their last bit as floats; a tie must not be broken by that."""
    score = bag_of_words([["a", "b"], ["a"] * 3 + ["b"] * 3, ["a"] * 7 + ["c"] * 7])
    assert len(set(score([["a"]])[0].tolist())) == 1


def test_bm25_is_lucenes_formula():
    documents = [["red", "cup"], ["cup"], ["tree"]]
    found = bm25(documents)([["cup", "red"], ["stranger"], []])
    length, mean = np.array([2, 1, 1]), 4 / 3

    def part(count, having):
        return (
            np.log(1 + (3 - having + 0.5) / (having + 0.5))
            * count
            / (count + 1.5 * (0.25 + 0.75 * length / mean))
        )

    expected = part(np.array([1, 1, 0]), 2) + part(np.array([1, 0, 0]), 1)
    assert found[0] == pytest.approx(expected, rel=1e-5) and not found[1:].any()
    assert bm25([[], []])([["a"]]).tolist() == [[0, 0]]  # no words at all


def naive_ranks(captions, images, groups, method):
    """Rank of the best image of the caption's group, ties against it, one caption at a time."""
    score, found = (
        lexical.SCORERS[method]([split_words(caption, "compounds") for caption in captions]),
        [],
    )
    for query, group in zip(captions, groups, strict=True):
        scores = score([split_words(query, "compounds")])[0]
        best = {}
        for document, image, owner, value in zip(captions, images, groups, scores, strict=True):
            same = owner == group and split_words(document, "compounds") == split_words(
                query, "compounds"
            )
            best[image] = max(best.get(image, 0.0), 0.0 if same else value)
        own = max(
            best[image] for image, owner in zip(images, groups, strict=True) if owner == group
        )
        rivals = {image for image, owner in zip(images, groups, strict=True) if owner != group}
        found.append(1 + sum(best[image] >= own for image in rivals))
    return found


@pytest.mark.parametrize("method", list(lexical.SCORERS))
def test_against_a_loop(method, monkeypatch):
    monkeypatch.setattr(lexical, "BLOCK_ROWS", 7)  # several blocks
    rng = np.random.default_rng(0)
    captions = [" ".join(rng.choice(list("abcdef"), rng.integers(0, 4))) for _ in range(60)]
    images = rng.permutation(np.concatenate([np.arange(20), rng.integers(0, 20, 40)]))
    group_of_image = np.arange(20) // 2  # two images show one thing
    ranking = rank_by_other_captions(
        captions, group_of_image[images], captions, images, group_of_image, method=method
    )
    assert ranking.ranks.tolist() == naive_ranks(captions, images, group_of_image[images], method)


@pytest.mark.parametrize("method", list(lexical.SCORERS))
def test_one_caption_per_image_finds_nothing(method):
    captions, images = ["red cup", "blue cup", "tree"], np.arange(3)
    ranking = rank_by_other_captions(captions, images, captions, images, images, method=method)
    # cups find each other and so the wrong image; the tree shares no word with anything
    assert (
        ranking.ranks.tolist() == [3, 3, 3]
        and ranking.above.tolist() == [1, 1, 0]
        and ranking.tied.tolist() == [1, 1, 2]
    )
    assert summarize(ranking, "t", ties="optimistic")["t_R@1"] == pytest.approx(1 / 3)
    assert summarize(ranking, "t", ties="expected")["t_R@1"] == pytest.approx(1 / 9)


def test_a_caption_twice_on_one_image_is_not_another_caption():
    captions, images = ["santa", "Santa!", "santa hat", "tree"], np.array([0, 0, 1, 2])
    ranking = rank_by_other_captions(
        captions, images, captions, images, np.arange(3), method="bag_of_words"
    )
    assert ranking.ranks[:2].tolist() == [
        3,
        3,
    ]  # only the other image's "santa hat" is left, and the tree ties at 0


def test_one_image():
    ranking = rank_by_other_captions(
        ["a", "b"], np.zeros(2, int), ["a", "b"], np.zeros(2, int), np.zeros(1, int), method="bm25"
    )
    assert ranking.ranks.tolist() == [1, 1]
