"""Rows on a device: all of them, or ranges that are copied from the host."""

import numpy as np
import pytest
import torch

from hardpairs.mining.engine.device_rows import ResidentRows, StreamedRows
from hardpairs.mining.low_precision import FLOAT16, KINDS
from hardpairs.mining.plan import Plan
from hardpairs.mining.unit_vectors import round_vectors
from tests.mining.reference import unit
from tests.mining.searches import themed

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")],
    ),
]


def halves_of(units):
    """Return rows as the host stores them, and how far each modality was rounded."""
    halves = [np.empty(rows.shape, KINDS[FLOAT16]) for rows in units]
    return halves, [round_vectors(*pair) for pair in zip(units, halves, strict=True)]


def both(where, ranges=5, size=20):
    units = [unit(themed(100, width, width)).astype(np.float32) for width in (6, 9)]
    device = torch.device(where)
    streamed = StreamedRows(*halves_of(units), device, ranges, size)
    return ResidentRows(units, device), streamed


def is_same(found, expected):
    return all(torch.equal(*sides) for sides in zip(found, expected, strict=True))


@pytest.mark.parametrize("where", DEVICES)
def test_streamed_rows_are_those_of_all_rows(where):
    """Ranges at random: whole ones, parts of them, and some that were expected before."""
    resident, streamed = both(where)
    assert streamed.errors == resident.errors and min(resident.errors) > 0
    rng = np.random.default_rng(0)
    for _ in range(300):
        starts, sizes = rng.integers(0, 90, 4).tolist(), rng.integers(1, 21, 4).tolist()
        ranges = [
            (start, min(100, start + size)) for start, size in zip(starts, sizes, strict=True)
        ]
        found = streamed.fetch(*ranges[:2], then=ranges[2:])
        expected = resident.fetch(*ranges[:2])
        assert all(is_same(*sides) for sides in zip(found, expected, strict=True))
    numbers = rng.permutation(100)[:30]
    assert is_same(streamed.gather(numbers), resident.gather(numbers))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_rows_that_come_wait_for_work_that_was_told_before():
    """The device is kept busy, so that copies would come before the sums that read the old rows."""
    size, device = 4096, torch.device("cuda")
    host = np.repeat(np.arange(40, dtype=np.float16), size)[:, None] * np.ones(8, np.float16)
    streamed = StreamedRows([host], [0.0], device, 4, size)
    busy, sums = torch.randn(8192, 8192, device=device), []
    for turn in range(40):
        rows, columns, then = (
            ((number % 40) * size, (number % 40) * size + size) for number in range(turn, turn + 3)
        )
        left, right = streamed.fetch(rows, columns, then=[then])
        busy @ busy
        sums.append((left[0].float().mean(), right[0].float().mean()))
    found = [(float(left), float(right)) for left, right in sums]
    assert found == [(turn, (turn + 1) % 40) for turn in range(40)]


def test_a_range_that_is_held_is_not_copied_again():
    _, streamed = both("cpu", ranges=4)
    for rows, columns in (((0, 20), (20, 40)), ((3, 11), (0, 20)), ((40, 60), (60, 80))):
        streamed.fetch(rows, columns)
    assert streamed.copied == 80
    streamed.fetch((0, 20), (80, 100))  # (20, 40) was not needed for the longest time
    streamed.fetch((0, 20), (40, 60))
    assert streamed.copied == 100
    streamed.fetch((20, 40), (40, 60))
    assert streamed.copied == 120


def test_rows_that_came_to_the_host_later_are_copied_after_forgetting():
    """In a ring, a place on the host is empty until its rows come."""
    host = np.zeros((40, 4), np.float16)
    streamed = StreamedRows([host], [0.0], torch.device("cpu"), 4, 20)
    streamed.fetch((0, 20), (20, 40))
    host[:] = 1
    streamed.forget()
    assert all((side[0] == 1).all() for side in streamed.fetch((0, 20), (20, 40)))


@pytest.mark.parametrize("on_device", [800, 1600])
def test_strips_of_tiles_copy_each_column_once(on_device):
    """Without strips the tiles of far diagonals copy both their ranges."""
    sizes = (10_000, 10_000, 5, 84, 100, 100, 10_000, False, 0)
    copied = {}
    for held in (0, on_device):
        plan = Plan(*sizes, on_device=held)
        rows = StreamedRows(
            [np.zeros((10_000, 1), np.float16)], [0.0], torch.device("cpu"), on_device // 100, 100
        )
        for tile in plan.tiles(0, 10_000):
            rows.fetch((tile.top, tile.bottom), (tile.left, tile.right))
        copied[held] = rows.copied
    strip = on_device - 300
    once = sum(min(top + strip, 10_000) for top in range(0, 10_000, strip))
    assert copied[on_device] <= once + 3 * 10_000
    assert copied[on_device] < 0.4 * copied[0]
