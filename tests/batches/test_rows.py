"""Row sets against plain sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardpairs.batches.rows import RowSet, first_of_each


@given(
    count=st.integers(1, 60),
    excluded=st.sets(st.integers(0, 59)),
    used=st.sets(st.integers(0, 59)),
    wanted=st.integers(0, 70),
)
@settings(max_examples=200, deadline=None)
def test_against_a_set(count, excluded, used, wanted):
    excluded, used = ({row for row in rows if row < count} for rows in (excluded, used))
    rows, kept = RowSet(count, list(excluded)), sorted(set(range(count)) - excluded)
    assert rows.at(np.arange(len(rows))).tolist() == kept
    assert np.flatnonzero(rows.has(np.arange(count))).tolist() == kept
    drawn = rows.draw_outside(
        np.array(list(used), np.int64), wanted, np.random.default_rng(0)
    ).tolist()
    outside = set(kept) - used
    assert len(set(drawn)) == len(drawn) == min(wanted, len(outside)) and set(drawn) <= outside


def test_draws_are_even():
    rows, rng = RowSet(50, [0]), np.random.default_rng(0)
    drawn = np.concatenate([rows.draw_outside(np.array([1, 2]), 2, rng) for _ in range(4000)])
    counts = np.bincount(drawn, minlength=50)
    assert (
        (counts[:3] == 0).all() and counts[3:].min() > 120 and counts[3:].max() < 230
    )  # 170 on average


def test_rows_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match=r"\[0, 5\)"):
        RowSet(5, [5])


def test_first_of_each_is_what_numpy_returns():
    rng = np.random.default_rng(0)
    for values in (rng.integers(0, 50, 300), np.array([2**40, 0, 2**40]), np.array([], np.int64)):
        for ours, theirs in zip(
            first_of_each(values), np.unique(values, return_index=True), strict=True
        ):
            assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("used", [20, 380])
def test_rows_outside_are_the_first_ones_of_the_draw(used):
    """Most rows are outside, or so many are not that the first ones do not suffice."""
    rows, count = RowSet(2000, [7]), 80
    inside = np.random.default_rng(1).choice(1999, 4 * used, replace=False)
    drawn = rows.draw_outside(inside, count, np.random.default_rng(0))
    wanted = 2 * count if len(rows) > 4 * (len(inside) + count) else len(rows)
    draw = rows.at(np.random.default_rng(0).choice(len(rows), wanted, replace=False))
    assert drawn.tolist() == [row for row in draw.tolist() if row not in inside][:count]
