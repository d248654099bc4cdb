"""Products of float16 rows: on the CPU in every run, on a GPU with ``pytest -m gpu``."""

import numpy as np
import pytest
import torch

from hardpairs.mining.engine.cuda import own_device
from hardpairs.mining.engine.device_rows import ResidentRows
from hardpairs.mining.engine.error_bound import (
    FLOAT16_ROUNDING,
    FLOAT16_UNDERFLOW,
    similarity_error,
)
from hardpairs.mining.engine.half_products import HalfProducts
from tests.mining.reference import dots, unit

gpu = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")],
)


@pytest.mark.parametrize("where", ["cpu", gpu])
@pytest.mark.parametrize("width", [1, 24, 384, 769])
def test_no_similarity_is_further_off_than_the_bound(where, width):
    """Rows whose components lie just below the middle of two float16 numbers."""
    rng = np.random.default_rng(0)
    bits = (
        (rng.normal(size=(200, width)).astype(np.float32) / np.sqrt(width))
        .astype(np.float32)
        .view(np.uint32)
    )
    rows = ((bits & 0xFFFFE000) | 0xFFF).view(np.float32)
    rows[100:] = np.abs(rows[100:])
    rows = unit(rows).astype(np.float32)
    kept = rows.copy()
    device = own_device(where)
    products = HalfProducts(ResidentRows([rows], device), [width], 200, device)
    values = products(slice(0, 200), slice(0, 200))[0].double().cpu().numpy()
    off = np.abs(values - dots(rows.astype(np.float64), rows.astype(np.float64)))
    assert (off <= FLOAT16_ROUNDING * np.abs(values) + products.errors[0]).all()
    assert products.errors[0] < similarity_error(width, 2.0**-11) + FLOAT16_UNDERFLOW
    assert (rows == kept).all()
