"""The arithmetic of questions, neighbours against a plain sort, and the cut-off on collections whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardpairs.core.errors import UserError
from hardpairs.photos.search import MAX_QUERY, best_rows, clean, combine, cut_off, ranked, search


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, -1.0, 1.0]), min_size=1, max_size=30),
    st.integers(1, 40),
)
def test_best_rows_against_a_sort(scores, count):
    expected = sorted(range(len(scores)), key=lambda row: (-scores[row], row))[:count]
    assert best_rows(np.array(scores, np.float32), count).tolist() == expected


@pytest.mark.parametrize("cut", [False, True])
def test_ranked_goes_on_to_the_end_of_the_list(cut):
    rng = np.random.default_rng(0)
    query, rows = unit(rng.normal(size=8)), unit(rng.normal(size=(300, 8)))
    index = type("Rows", (), {"embeddings": rows, "__len__": lambda self: len(rows)})()
    whole, scores = search(index, query, 300, cut=cut), rows @ query
    expected = [
        row
        for row in np.argsort(-scores, kind="stable")
        if not cut or scores[row] >= cut_off(scores)
    ]
    assert [result.row for result in whole] == expected and [
        result.row for result in search(index, query, 7, cut=cut)
    ] == expected[:7]
    for first in (1, 3, 299, 1000):
        assert list(ranked(index, query, first, cut=cut)) == whole


def test_questions_are_sums_of_unit_vectors():
    right, up = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
    np.testing.assert_allclose(combine([right, up], []), [0.5**0.5, 0.5**0.5], rtol=1e-6)
    np.testing.assert_allclose(combine([right], [up]), [0.5**0.5, -(0.5**0.5)], rtol=1e-6)
    np.testing.assert_allclose(combine([], [up]), [0, -1])
    for plus, minus, says in (([], [], "nothing to search for"), ([right], [right], "leaves out")):
        with pytest.raises(UserError, match=says) as error:
            combine(plus, minus)
        assert error.value.code == 2


@pytest.mark.parametrize(("dim", "related"), [(512, 7), (512, 60), (64, 7)])
def test_the_cut_keeps_what_is_related(dim, related):
    """2,000 unrelated pictures, and some that lie towards the query."""
    rng = np.random.default_rng(0)
    query = unit(rng.normal(size=dim))
    rows = unit(rng.normal(size=(2000, dim)))
    rows[:related] = unit(3 * query + rng.normal(size=(related, dim)) / dim**0.5)
    scores = rows @ query
    assert np.flatnonzero(scores >= cut_off(scores)).tolist() == list(range(related))


def test_nothing_stands_out_of_pictures_that_have_nothing_to_do_with_it():
    kept = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scores = unit(rng.normal(size=(5000, 256))) @ unit(rng.normal(size=256))
        kept.append(int((scores >= cut_off(scores)).sum()))
    assert max(kept) <= 20 and np.median(kept) <= 1


def test_one_picture_and_equal_ones_are_no_trouble():
    for scores in ([0.3], [0.5] * 4):
        scores = np.array(scores, np.float32)
        assert (scores >= cut_off(scores)).all()


def test_a_query_is_cleaned():
    assert clean("\x00a\x1b[31m dog\r\n\u2028in  snow\ud800 ") == "a [31m dog in snow"
    assert clean(" \n\x07 ") == "" and len(clean("wörter " * 200_000)) <= MAX_QUERY
