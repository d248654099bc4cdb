"""Choices: against the mean over all orders of equal scores, and the rules of the benchmarks."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from hardpairs.metrics.choices import chance, choice_scores, credit, macro_mean, means_by_group


def strict(scores: np.ndarray) -> dict[str, bool]:
    """Return Winoground's scores of one item without equal scores, written out."""
    images, captions = scores.shape
    pairs = range(min(images, captions))
    text = all(scores[i, i] > scores[i, c] for i in pairs for c in range(captions) if c != i)
    image = all(scores[c, c] > scores[i, c] for c in pairs for i in range(images) if i != c)
    return {"text": text, "image": image, "group": text and image}


def mean_over_orders(scores: np.ndarray) -> dict[str, float]:
    """Return the mean of ``strict`` over all ways to break ties, by trying them."""
    found = []
    for order in permutations(range(scores.size)):
        shift = 1e-3 * np.array(order, float).reshape(scores.shape)
        found.append(strict(scores + shift))
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


@pytest.mark.parametrize("shape", [(1, 2), (1, 5), (2, 2), (3, 1)])
def test_equal_scores_count_as_the_mean_over_their_orders(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 3, (30, *shape)).astype(float)
    found = credit(scores)
    for item in range(30):
        expected = mean_over_orders(scores[item])
        for name, values in found.scores.items():
            assert values[item] == pytest.approx(expected[name]), (name, scores[item])
        decided = any(0 < expected[name] < 1 for name in found.scores)
        assert found.tied[item] == decided


def test_a_score_that_nothing_competes_for_is_not_reported() -> None:
    """CLIP_benchmark's image accuracy of one image is always 1, MTEB's always 0."""
    assert set(credit(np.zeros((1, 1, 2))).scores) == {"text"}
    assert set(credit(np.zeros((1, 2, 1))).scores) == {"image"}


def test_without_equal_scores_it_is_the_rule_of_winoground() -> None:
    """Winoground's numbers of 200 random items; argmax over captions, as others write it."""
    scores = np.random.default_rng(1).normal(size=(200, 2, 2))
    found = credit(scores)
    assert not found.tied.any()
    for name, values in found.scores.items():
        assert values.tolist() == [float(strict(item)[name]) for item in scores]
    by_argmax = (scores.argmax(axis=2) == [0, 1]).all(axis=1)
    assert found.scores["text"].tolist() == by_argmax.astype(float).tolist()


CLIP_BENCHMARK = {
    (1, 2): {"text": 0.5333333611488342},
    (1, 5): {"text": 0.20000000298023224},
    (2, 2): {"text": 0.25, "image": 0.20000000298023224, "group": 0.15000000596046448},
}
"""What CLIP_benchmark 1.6.2 gives for 60 items of ``vectors``.

Made by ``clip_benchmark.metrics.image_caption_selection.evaluate`` (``text_acc``, ``image_acc``,
``acc``) with a model that returns ``vectors(0, 60 * I)`` and ``vectors(1, 60 * C)``.
"""


def vectors(seed: int, count: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(("images", "captions"), list(CLIP_BENCHMARK))
def test_the_numbers_of_clip_benchmark(images: int, captions: int) -> None:
    rows = (
        np.arange(60 * images).reshape(60, images),
        np.arange(60 * captions).reshape(60, captions),
    )
    found = credit(choice_scores(vectors(0, 60 * images), vectors(1, 60 * captions), *rows))
    expected = CLIP_BENCHMARK[images, captions]
    assert {n: v.mean() for n, v in found.scores.items()} == pytest.approx(expected, abs=1e-6)


def test_chance_is_that_of_the_papers() -> None:
    assert chance(2, 2) == {"text": 0.25, "image": 0.25, "group": pytest.approx(1 / 6)}
    assert chance(1, 5) == {"text": pytest.approx(0.2)}
    scores = np.random.default_rng(2).random((40_000, 2, 2))
    means = {name: value.mean() for name, value in credit(scores).scores.items()}
    assert means == pytest.approx(chance(2, 2), abs=0.01)


@pytest.mark.parametrize("shape", [(2, 3), (1, 1), (3, 3)])
def test_other_shapes_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no choice"):
        credit(np.zeros((1, *shape)))


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="not numbers"):
        credit(np.full((1, 1, 2), np.nan))


def test_the_same_two_vectors_have_the_same_score_wherever_they_stand() -> None:
    """A shuffle that is the caption again, and one caption in many items."""
    rng = np.random.default_rng(3)
    images, texts = rng.normal(size=(2, 301)).astype(np.float32), rng.normal(size=(9, 301))
    texts = texts.astype(np.float32)
    image_of, text_of = np.array([[0], [1], [0]]), np.array([[1, 1, 8], [2, 1, 1], [8, 1, 2]])
    scores = choice_scores(images, texts, image_of, text_of)
    assert scores[0, 0, 0] == scores[0, 0, 1] == scores[2, 0, 1]
    assert scores[0, 0, 2] == scores[2, 0, 0]
    assert scores[1, 0, 0] == pytest.approx(float(images[1] @ texts[2]), rel=1e-4)


def test_groups_and_their_mean() -> None:
    by_group = means_by_group(np.array([1.0, 0.0, 1.0, 0.5]), ["on", "on", "under", "on"])
    assert by_group == {"on": (0.5, 3), "under": (1.0, 1)}
    assert macro_mean(by_group) == 0.75 and macro_mean(by_group, 2) == 0.5
    assert macro_mean(by_group, 4) is None
