"""Tiles, strips, blocks, memory: how a search is cut into pieces changes nothing."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from hardpairs.core.errors import UserError
from hardpairs.mining import plan as planning
from hardpairs.mining import search, sweep
from hardpairs.mining.plan import Plan, Tile, make_plan
from hardpairs.mining.products import Products
from hardpairs.mining.search import hard_pairs
from tests.helpers import ROOT
from tests.mining.test_search import themed


@pytest.mark.parametrize("pool", [300, 130])
@pytest.mark.parametrize("strip", [64, 128])
def test_strips_change_nothing(monkeypatch, strip, pool):
    image, text = themed(300, 24), themed(300, 16, 1)

    def plan(*, rows, pool, depth, **_):
        return Plan(rows, pool, depth, 4 * depth + 64, 64, 64, strip, True, 0)

    expected = hard_pairs(image, text, top_k=5, approx=pool)
    monkeypatch.setattr(search, "make_plan", plan)
    indices, scores = hard_pairs(image, text, top_k=5, approx=pool)
    assert (indices == expected[0]).all() and (scores == expected[1]).all()


@pytest.mark.parametrize("pool", [1, 5, 700, 1000])
@pytest.mark.parametrize("strip", [100, 300, 1000])
def test_tiles_cover_every_pair_once(strip, pool):
    plan = Plan(1000, pool, 5, 84, 100, 100, strip, False, 0)
    for start, stop in plan.strips():
        seen = np.zeros((1000, pool), int)
        for tile in plan.tiles(start, stop):
            seen[tile.top : tile.bottom, tile.left : tile.right] += 1
            if tile.both:
                seen[tile.left : tile.right, tile.top : tile.bottom] += 1
        assert (seen[start:stop] == 1).all() and seen.sum() == (stop - start) * pool


class Scarce(Products):
    """Products on a machine without room for blocks of more than 20 rows."""

    def __call__(self, rows, columns):
        if len(self.rows[0][rows]) > self.limit:
            raise RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"
            )
        return super().__call__(rows, columns)

    limit = 20


def test_short_memory_halves_the_blocks(monkeypatch, capsys):
    image, text = themed(300, 24), themed(300, 16, 1)
    expected = hard_pairs(image, text, top_k=5)
    monkeypatch.setattr(search, "Products", Scarce)
    monkeypatch.setattr(Scarce, "limit", 80)
    indices, scores = hard_pairs(image, text, top_k=5)
    assert (indices == expected[0]).all() and (scores == expected[1]).all()
    assert "going on with blocks of 75 rows" in capsys.readouterr().err


def test_a_plan_keeps_within_its_memory():
    for rows in (1000, 50_000, 3_000_000):
        for allowed in (1 << 30, 8 << 30, 64 << 30):
            try:
                plan = make_plan(
                    rows=rows, pool=rows, widths=[384, 768], depth=50, max_memory=allowed
                )
            except UserError as error:
                assert error.code == 5 and rows == 3_000_000 and allowed == 1 << 30
                continue
            assert plan.bytes <= allowed and plan.capacity >= 2 * plan.depth and plan.strip <= rows


def test_constants_of_the_plan_are_those_of_the_lists():
    lists = sweep.empty_lists(3, 7, 0.0)
    entry = sum(getattr(lists, name).itemsize for name in ("column", "high", "low", "reason"))
    assert entry == planning.ENTRY_BYTES
    assert (
        sum(array.itemsize for array in (lists.count, lists.threshold, lists.spilled))
        == planning.ROW_BYTES
    )


@pytest.mark.parametrize("block", [64, 100, 150])
def test_blocks_smaller_than_a_tile_change_nothing(monkeypatch, block):
    image, text = themed(300, 24), themed(300, 16, 1)
    expected = hard_pairs(image, text, top_k=5)

    def plan(*, rows, pool, depth, **_):
        return Plan(rows, pool, depth, 4 * depth + 64, 256, block, rows, False, 0)

    monkeypatch.setattr(search, "make_plan", plan)
    indices, scores = hard_pairs(image, text, top_k=5)
    assert (indices == expected[0]).all() and (scores == expected[1]).all()


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_any_number_of_threads_gives_the_same(monkeypatch, threads):
    """Also where blocks do not fit into memory in all of them at once."""
    image, text = themed(700, 24), themed(700, 16, 1)
    expected = hard_pairs(image, text, top_k=5)
    monkeypatch.setattr(search, "Products", Scarce)
    monkeypatch.setattr(Scarce, "limit", 90)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        indices, scores = hard_pairs(image, text, top_k=5)
    finally:
        torch.set_num_threads(before)
    assert (indices == expected[0]).all() and (scores == expected[1]).all()


@pytest.mark.parametrize("parts", [1, 2, 3, 8])
def test_tiles_for_threads_have_no_row_or_column_in_common(parts):
    tile = Tile(100, 1000, 5000, 5700, both=True)
    seen = np.zeros((900, 700), int)
    for group in sweep.disjoint(tile, parts):
        assert (
            len({part.top for part in group})
            == len({part.left for part in group})
            == len(group)
            == parts
        )
        for part in group:
            seen[part.top - 100 : part.bottom - 100, part.left - 5000 : part.right - 5000] += 1
    assert (seen == 1).all()
    assert sweep.disjoint(Tile(0, 100, 0, 700, both=False), 8) == [
        [Tile(0, 100, 0, 700, both=False)]
    ]  # too small to share


MEASURE = """
import resource, sys
import numpy as np
from mining.filters import Filters
from mining.search import search
rng = np.random.default_rng(0)
centres = rng.normal(size=(300, 64))
image, text = ((centres[rng.integers(0, 300, 20000), :width] + rng.normal(size=(20000, width))).astype(np.float32) for width in (64, 48))
search(image[:3000], text[:3000], top_k=50, filters=Filters())  # loads the compiled loops, torch's buffers, ...
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
search(image, text, top_k=50, filters=Filters(), max_memory=int(sys.argv[1]), verbose=True)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.parametrize("allowed", [110_000_000, 300_000_000])
def test_memory_stays_within_what_is_allowed(allowed):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(allowed)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert ("strips" in done.stderr) == (allowed < 200_000_000)
    assert int(done.stdout) <= allowed
