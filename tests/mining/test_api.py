"""Exactness against a float64 brute force that shares only the definition with the search."""

import functools

import numpy as np
import pytest
import torch

from hardpairs.core.errors import UserError
from hardpairs.mining import api, hard_pairs
from hardpairs.mining.api import Execution
from hardpairs.mining.low_precision import PRECISIONS
from hardpairs.mining.plan import make_plan
from tests.mining import reference as walk
from tests.mining.searches import assert_same, search, themed


def unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    return (
        (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32).astype(np.float64)
    )


def dot(a: np.ndarray, b: np.ndarray) -> float:
    total = 0.0
    for x, y in zip(a, b, strict=True):
        total += x * y
    return total


def brute(image, text, top_k, *, duplicate=0.98, floor=0.0, groups=None, exclude=(), method="HPM"):
    sides = {"HPM": (image, text), "image": (image,), "text": (text,)}[method]
    sides = [unit(side) for side in sides]
    count = len(image)
    indices, scores = np.full((count, top_k), -1), np.zeros((count, top_k), np.float32)
    for i in range(count):
        others = []
        for j in range(count):
            if j == i or i in exclude or j in exclude:
                continue
            if groups is not None and (groups[i] == groups[j]).any():
                continue
            similarities = [dot(side[i], side[j]) for side in sides]
            if max(similarities) > duplicate:
                continue
            score = np.float32(np.prod([max(s, 0.0) if s >= floor else 0.0 for s in similarities]))
            if score > 0:
                others.append((-score, j))
        for rank, (score, j) in enumerate(sorted(others)[:top_k]):
            indices[i, rank], scores[i, rank] = j, -score
    return indices, scores


@pytest.mark.parametrize("method", ["HPM", "image", "text"])
@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_equal_to_brute_force(method, floor):
    image, text = themed(120, 24), themed(120, 16, 1)
    groups = np.random.default_rng(0).integers(0, 40, (120, 2))
    image[7] = image[3]  # exact duplicates
    options = {"method": method, "groups": groups}
    indices, scores = hard_pairs(
        image, text, top_k=9, similarity_floor=floor, exclude=np.array([5, 11]), **options
    )
    expected = brute(image, text, 9, floor=floor, exclude=(5, 11), **options)
    assert (indices == expected[0]).all() and (scores == expected[1]).all()


def test_ties_go_by_row_number():
    image = np.tile(np.eye(4, dtype=np.float32) + 1, (5, 1))  # every vector five times
    indices, scores = hard_pairs(image, image, top_k=6, duplicate_threshold=0.99)
    expected = brute(image, image, 6, duplicate=0.99)
    assert (indices == expected[0]).all() and (np.diff(scores, axis=1) <= 0).all()


def test_near_ties_below_single_precision_are_ordered_by_the_stored_score():
    rng = np.random.default_rng(0)
    base = rng.normal(size=64).astype(np.float32)
    image = base + 1e-4 * rng.normal(size=(60, 64)).astype(np.float32)
    text = themed(60, 32, 3)
    indices, scores = hard_pairs(image, text, top_k=10, duplicate_threshold=2.0)
    expected = brute(image, text, 10, duplicate=2.0)
    assert (indices == expected[0]).all() and (scores == expected[1]).all()


def test_two_negative_similarities_make_no_pair():
    image = text = np.array([[1, 0], [-1, 0.1]], np.float32)
    assert (hard_pairs(image, text, top_k=1)[0] == -1).all()


def near_ties(kind: str):
    rng = np.random.default_rng(0)
    base, text = rng.normal(size=32).astype(np.float32), themed(500, 16, 3, themes=3)
    if kind == "below bfloat16":
        return base + 1e-4 * rng.normal(size=(500, 32)).astype(np.float32), text
    if kind == "below float32":
        return base + 1e-7 * rng.normal(size=(500, 32)).astype(np.float32), np.tile(
            text[:5], (100, 1)
        )
    return np.tile(rng.normal(size=(4, 32)).astype(np.float32), (125, 1)), np.tile(
        text[:2], (250, 1)
    )


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", ["below bfloat16", "below float32", "exact"])
def test_near_ties_are_decided_exactly(kind, precision):
    image, text = near_ties(kind)
    execution = Execution(precision=precision)
    result = search(image, text, 4, duplicate_threshold=2.0, execution=execution)
    assert_same(result, walk.reference(image, text, 4, duplicate_threshold=2.0))


@pytest.mark.parametrize("kind", ["themed", "isotropic"])
def test_every_row_of_a_larger_set(kind):
    rng = np.random.default_rng(0)
    image, text = (
        (themed(600, 32), themed(600, 24, 1))
        if kind == "themed"
        else (rng.normal(size=(600, 32)), rng.normal(size=(600, 24)))
    )
    assert_same(search(image, text, 20), walk.reference(image, text, 20))


@pytest.mark.parametrize("tile", [1, 7, 64, 1000])
@pytest.mark.parametrize("threads", [1, 2])
def test_tiles_and_threads_change_nothing(monkeypatch, tile, threads):
    image, text = themed(70 if tile == 1 else 300, 24), themed(70 if tile == 1 else 300, 24, 1)
    expected = hard_pairs(image, text, top_k=5)
    monkeypatch.setattr(api, "make_plan", functools.partial(make_plan, tile=tile))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        indices, scores = hard_pairs(image, text, top_k=5)
    finally:
        torch.set_num_threads(before)
    assert indices.tobytes() == expected[0].tobytes() and scores.tobytes() == expected[1].tobytes()


def test_more_pairs_than_rows():
    image = themed(4, 8, themes=1)
    indices, _ = hard_pairs(image, image, top_k=10)
    assert indices.shape == (4, 10) and (indices == brute(image, image, 10)[0]).all()
    assert (hard_pairs(image[:1], image[:1], top_k=3)[0] == -1).all()


def test_pool_is_seeded_and_a_subset():
    image, text = themed(200, 16), themed(200, 16, 1)
    first, second = (hard_pairs(image, text, top_k=5, approx=50, seed=3)[0] for _ in range(2))
    assert (first == second).all() and len(np.unique(first[first >= 0])) <= 50
    assert (
        hard_pairs(image, text, top_k=5, approx=200)[0] == hard_pairs(image, text, top_k=5)[0]
    ).all()


def test_a_pool_lists_every_hard_pair_that_is_in_it():
    """So the recall of ``approx`` is the pool's share of the rows, whatever the data."""
    image, text = themed(200, 16), themed(200, 16, 1)
    exact, listed = (hard_pairs(image, text, top_k=8, approx=approx)[0] for approx in (None, 60))
    pool = np.unique(listed[listed >= 0])
    for row in range(200):
        assert set(exact[row]) & set(pool) - {-1} <= set(listed[row])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_unusable_rows_are_named(bad):
    image = themed(20, 8)
    image[13] = bad
    with pytest.raises(UserError, match="rows 13") as error:
        hard_pairs(image, themed(20, 8), top_k=3)
    assert error.value.code == 6
    indices, _ = hard_pairs(image, themed(20, 8), top_k=3, exclude=np.array([13]))
    assert (indices[13] == -1).all() and not (indices == 13).any()


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 0},
        {"top_k": 1, "method": "audio"},
        {"top_k": 1, "duplicate_threshold": 0},
        {"top_k": 1, "similarity_floor": 2},
    ],
)
def test_senseless_arguments(options):
    with pytest.raises(ValueError):
        hard_pairs(themed(5, 4), themed(5, 4), **options)
    with pytest.raises(ValueError):
        hard_pairs(themed(5, 4), themed(6, 4), top_k=1)


@pytest.mark.parametrize(
    "options",
    [
        {"exclude": np.arange(20) == 5},
        {"exclude": [-1]},
        {"exclude": [20]},
        {"exclude": [1.5]},
        {"groups": np.arange(19)},
        {"groups": np.arange(21)},
        {"groups": np.zeros((20, 1, 1), int)},
        {"groups": np.linspace(0, 1, 20)},
    ],
)
def test_groups_and_excluded_rows_that_do_not_fit(options):
    """Each of these could be taken for something else: a mask for rows 0 and 1, -1 for the last."""
    with pytest.raises(ValueError, match=next(iter(options))):
        hard_pairs(themed(20, 4), themed(20, 4), top_k=1, **options)


def test_no_row_at_all():
    for count, exclude in ((0, None), (2, [0, 1])):
        indices, scores = hard_pairs(
            np.ones((count, 4), np.float32),
            np.ones((count, 3), np.float32),
            top_k=3,
            exclude=exclude,
        )
        assert (
            indices.shape == scores.shape == (count, 3)
            and (indices == -1).all()
            and not scores.any()
        )
