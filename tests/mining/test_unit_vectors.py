"""The search order puts similar rows together, and changes nothing else."""

import functools

import numpy as np
import pytest

from hardpairs.core.progress import Progress
from hardpairs.mining import api, hard_pairs, unit_vectors
from hardpairs.mining.api import Execution
from hardpairs.mining.engine.cpu import CpuEngine
from hardpairs.mining.plan import make_plan
from hardpairs.mining.unit_vectors import order_by_similarity
from tests.mining.searches import search, themed


def test_rows_of_a_theme_stand_together(monkeypatch):
    monkeypatch.setattr(unit_vectors, "ROWS_PER_PIVOT", 20)
    rng = np.random.default_rng(0)
    theme = rng.integers(0, 10, 600)
    image, text = (
        rng.normal(size=(10, width))[theme] + 0.3 * rng.normal(size=(600, width))
        for width in (24, 16)
    )
    numbers = np.sort(rng.choice(600, 300, replace=False))
    sides = [image.astype(np.float32), text.astype(np.float32)]
    found = order_by_similarity(sides, numbers, np.setdiff1d(np.arange(600), numbers))
    assert np.array_equal(np.sort(found[:300]), numbers) and np.array_equal(
        np.sort(found), np.arange(600)
    )
    for part in (found[:300], found[300:]):
        assert (
            (np.diff(theme[part]) != 0).sum()
            < 50
            < 200
            < (np.diff(theme[np.sort(part)]) != 0).sum()
        )
    assert (
        theme[found[300:]] == theme[found[:300]]
    ).mean() > 0.3  # the others stand about where their like do among the candidates


def test_few_rows_and_rows_without_direction(monkeypatch):
    monkeypatch.setattr(unit_vectors, "ROWS_PER_PIVOT", 2)
    assert order_by_similarity(
        [np.ones((3, 4), np.float32)], np.array([0, 2]), np.array([1])
    ).tolist() == [0, 2, 1]
    rows = np.ones((40, 4), np.float32)
    rows[3], rows[7] = 0, np.nan
    assert np.array_equal(
        np.sort(order_by_similarity([rows], np.arange(39), np.array([39]))), np.arange(40)
    )


@pytest.mark.parametrize("approx", [None, 120])
def test_the_result_is_that_of_any_order(monkeypatch, approx):
    image, text = themed(400, 24), themed(400, 16, 1)
    plain = hard_pairs(image, text, top_k=6, approx=approx)
    monkeypatch.setattr(unit_vectors, "ROWS_PER_PIVOT", 10)
    sorted_by_theme = hard_pairs(image, text, top_k=6, approx=approx)
    shuffle = np.random.default_rng(1)
    monkeypatch.setattr(
        api,
        "order_by_similarity",
        lambda sides, *parts: np.concatenate([shuffle.permutation(part) for part in parts[:2]]),
    )
    shuffled = hard_pairs(image, text, top_k=6, approx=approx)
    for found in (sorted_by_theme, shuffled):
        assert np.array_equal(found[0], plain[0]) and np.array_equal(found[1], plain[1])


def test_a_search_continues_in_the_order_it_was_begun_in(monkeypatch, tmp_path):
    """The order comes from products, which another number of threads may round otherwise."""
    image, text = themed(500, 24), themed(500, 16, 1)
    expected = hard_pairs(image, text, top_k=6)
    shuffle = np.random.default_rng(1)
    monkeypatch.setattr(
        api,
        "order_by_similarity",
        lambda sides, *parts: np.concatenate([shuffle.permutation(part) for part in parts[:2]]),
    )
    monkeypatch.setattr("hardpairs.mining.api.make_plan", functools.partial(make_plan, tile=100))
    offer, offered = CpuEngine.offer, []

    def stop_at_the_ninth(self, *arguments):
        offered.append(arguments)
        if len(offered) == 9:
            raise KeyboardInterrupt
        offer(self, *arguments)

    monkeypatch.setattr(CpuEngine, "offer", stop_at_the_ninth)

    def begin():
        progress = Progress(tmp_path / "work", {}, every=0)
        return search(image, text, 6, execution=Execution(progress=progress))

    with pytest.raises(KeyboardInterrupt):
        begin()
    result = begin()
    assert len(offered) == 9 + 15 - 8  # the eight tiles before it are not done again
    assert np.array_equal(result.indices, expected[0])
    assert np.array_equal(result.scores, expected[1])
