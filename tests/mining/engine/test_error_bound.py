"""The error bound against products made to be as wrong as they can be."""

import numpy as np
import pytest
import torch

from hardpairs.mining.engine.cpu import Products
from hardpairs.mining.engine.error_bound import BFLOAT16_ROUNDING, similarity_error, sum_error
from hardpairs.mining.low_precision import BFLOAT16, FLOAT32, KINDS, PRECISIONS, stored_width
from hardpairs.mining.unit_vectors import round_vectors
from tests.mining.reference import dots, unit


def hostile(count: int, width: int) -> np.ndarray:
    """Return unit rows whose components lie just below the middle of two bfloat16 numbers."""
    rng = np.random.default_rng(0)
    bits = (
        (rng.normal(size=(count, width)).astype(np.float32) / np.sqrt(width))
        .astype(np.float32)
        .view(np.uint32)
    )
    rows = ((bits & 0xFFFF0000) | 0x7FFF).view(np.float32)
    rows[count // 2 :] = np.abs(rows[count // 2 :])
    return unit(rows).astype(np.float32)


@pytest.mark.parametrize("width", [1, 24, 384, 769])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_similarity_is_further_off_than_the_bound(width, precision):
    rows = hostile(200, width)
    multiplied, error = rows, 0.0
    if precision != FLOAT32:
        kind = KINDS[precision]
        multiplied = np.empty((len(rows), stored_width(width, kind)), kind)
        error = round_vectors(rows, multiplied)
        most = 2.0**-8 if precision == BFLOAT16 else np.sqrt(width) / 2 / 127
        assert (0 if width == 1 else 0.002) <= error < most  # a row of one component is 1 or -1
    values = Products([multiplied], [error], 200)(slice(0, 200), slice(0, 200))[0].double().numpy()
    off = np.abs(values - dots(rows.astype(np.float64), rows.astype(np.float64)))
    assert (off <= BFLOAT16_ROUNDING * np.abs(values) + similarity_error(width, error)).all()


def test_the_output_rounding_is_reached():
    """2^-8, not 2^-9: a test of the constant itself."""
    value = torch.tensor(1 + 2.0**-8 - 2.0**-20)
    rounded = value.to(torch.bfloat16).double()
    assert abs(value.double() - rounded) > 0.99 * 2.0**-8 * rounded
    assert abs(value.double() - rounded) <= BFLOAT16_ROUNDING * rounded


def test_sums_in_any_order_are_within_the_bound():
    rows = unit(np.random.default_rng(0).normal(size=(50, 768)))
    ordered = dots(rows, rows)
    assert np.abs(ordered - rows @ rows.T).max() <= sum_error(768)
    assert np.abs(ordered - dots(rows[:, ::-1], rows[:, ::-1])).max() <= sum_error(768)
