"""Several arrays read like the one that they would make."""

from __future__ import annotations

import numpy as np
import pytest

from hardpairs.data.stacked import Stacked

ROWS = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)


@pytest.mark.parametrize("cuts", [[4, 9], [], [0, 12], [5, 5]])
def test_rows_are_those_of_the_joined_array(cuts):
    stacked = Stacked(np.split(ROWS, cuts))
    assert len(stacked) == 12 and stacked.shape == (12, 3) and stacked.dtype == np.float32
    for rows in (
        slice(None),
        slice(3, 10),
        slice(10, 2, -3),
        np.array([11, 0, 4, 4, -1]),
        np.array([], np.int64),
        ROWS[:, 0] > 0,
    ):
        assert np.array_equal(stacked[rows], ROWS[rows])
    assert np.array_equal(np.asarray(stacked), ROWS)
    assert np.asarray(stacked, np.float64).dtype == np.float64


def test_mixed_types_have_the_one_that_holds_all():
    assert Stacked([ROWS[:2].astype(np.float16), ROWS[2:]])[:].dtype == np.float32
