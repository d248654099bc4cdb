"""Unit vectors: the one rule against PyTorch's and against a loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hardpairs.core import vectors
from hardpairs.core.vectors import EPSILON, row_lengths, rows_without_direction, unit_rows


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_are_divided_by_their_lengths(dtype, monkeypatch):
    monkeypatch.setattr(vectors, "BLOCK_ROWS", 3)
    rows = np.random.default_rng(0).normal(size=(8, 5)).astype(dtype)
    expected = np.stack([row / np.sqrt((row**2).sum()) for row in rows.astype(np.float64)])

    unit = unit_rows(rows, np.float64)

    np.testing.assert_allclose(unit, expected, rtol=1e-12)
    np.testing.assert_array_equal(unit_rows(rows), expected.astype(np.float32))
    np.testing.assert_allclose(row_lengths(rows), np.sqrt((rows.astype(float) ** 2).sum(axis=1)))


def test_the_rule_is_pytorchs():
    rows = np.array([[3, 4], [0, 0], [1e-20, 0], [-2, 0]], np.float32)
    torch.testing.assert_close(
        torch.from_numpy(unit_rows(rows)),
        torch.nn.functional.normalize(torch.from_numpy(rows), dim=1),
    )


def test_a_zero_row_stays_zero_and_an_infinite_one_becomes_nan():
    rows = np.array([[0, 0], [np.inf, 1], [np.nan, 1], [1e30, 0], [EPSILON / 2, 0]], np.float32)
    unit = unit_rows(rows)
    assert not unit[0].any()
    assert np.isnan(unit[1:3]).any(axis=1).all()
    assert unit[3].tolist() == [1, 0]
    assert rows_without_direction(rows).tolist() == [0, 1, 2, 4]


def test_no_rows():
    assert unit_rows(np.zeros((0, 3))).shape == (0, 3)
    assert row_lengths(np.zeros((0, 3))).shape == (0,)
