"""Constants of mining are measured with the engine's parts, here on few rows."""

from __future__ import annotations

import pytest
import torch

from hardpairs.planning import measure_mining
from hardpairs.planning.measure_mining import Effort, processor_seconds

SMALL = Effort(widths=(8, 16), blocks=(64, 128), rows=(300, 600), clustered=600, repeats=1, top_k=5)


@pytest.fixture(scope="module")
def rates():
    before, measure_mining.PRODUCT_BLOCK = measure_mining.PRODUCT_BLOCK, 128
    yield measure_mining.measure_mining(SMALL)
    measure_mining.PRODUCT_BLOCK = before


def test_everything_is_measured(rates):
    assert [(rate.width, rate.block) for rate in rates.products] == [
        (8, 64),
        (8, 128),
        (16, 64),
        (16, 128),
    ]
    assert {rate.precision for rate in rates.products} <= {"float32", "bfloat16"}
    assert all(rate.seconds > 0 for rate in rates.products)
    assert [rate.width for rate in rates.lists] == [16, 32]
    for name in ("unit", "rounding", "float_product", "writing", "hashing"):
        assert getattr(rates, name) > 0, name
    for name in ("row_scan", "column_scan", "ordering"):
        assert getattr(rates, name) >= 0, name
    assert 0 < rates.compared <= 1 and rates.compared_rows == 600


def test_the_median_of_some_tries_counts(monkeypatch):
    times, threads = iter([0.0, 9.0, 10.0, 11.0, 20.0, 23.0]), torch.get_num_threads()
    monkeypatch.setattr(measure_mining.time, "process_time", lambda: next(times))
    assert processor_seconds(lambda: None, 3) * threads == 3
