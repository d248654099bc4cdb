"""Rows as they are stored to be multiplied."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hardpairs.mining.low_precision import (
    KINDS,
    SCALE,
    row_bytes,
    stored_width,
    width_of,
)
from hardpairs.mining.unit_vectors import round_vectors
from tests.mining.reference import unit


@pytest.mark.parametrize("precision", KINDS)
def test_a_row_takes_the_bytes_that_a_plan_counts(precision):
    kind = KINDS[precision]
    stored = [np.zeros((3, stored_width(width, kind)), kind) for width in (5, 7)]
    assert [width_of(rows) for rows in stored] == [5, 7]
    assert row_bytes((5, 7), precision) == 4 * 12 + sum(rows[0].nbytes for rows in stored)


def test_float32_products_take_no_rows_of_their_own():
    assert row_bytes((5, 7), "float32") == 4 * 12
    assert width_of(np.zeros((3, 5), np.float32)) == 5


def test_an_int8_row_is_whole_numbers_and_their_scale():
    rows = unit(np.random.default_rng(0).normal(size=(600, 30))).astype(np.float32)
    rows[3] = 0
    rows[3, 2] = -1  # one component: exact
    stored = np.empty((600, 30 + SCALE), np.int8)
    error = round_vectors(rows, stored)
    scales = stored[:, 30:].copy().view(np.float32)
    assert (scales[:, 0] == np.abs(rows).max(axis=1) / np.float32(127)).all()
    whole = stored[:, :30]
    assert (np.abs(whole).max(axis=1) == 127).all() and whole[3].tolist().count(0) == 29
    off = np.linalg.norm(whole * scales.astype(np.float64) - rows, axis=1)
    assert off.max() <= error <= off.max() * 1.001 and off[3] < 1e-7
    half = scales[:, 0].astype(np.float64) / 2
    assert (np.abs(whole * scales.astype(np.float64) - rows) <= half[:, None] * 1.0001).all()


def test_a_bfloat16_row_is_that_of_torch():
    rows = unit(np.random.default_rng(0).normal(size=(600, 30))).astype(np.float32)
    stored = np.empty((600, 30), np.uint16)
    error = round_vectors(rows, stored)
    low = torch.from_numpy(rows).to(torch.bfloat16)
    assert (stored == low.view(torch.uint16).numpy()).all()
    assert 0.001 < (low.double() - torch.from_numpy(rows)).norm(dim=1).max() <= error
