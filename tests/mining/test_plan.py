"""Tiles, blocks, memory: how a search is cut into pieces changes nothing."""

import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.mining import api, hard_pairs
from hardpairs.mining import plan as planning
from hardpairs.mining.engine import lists
from hardpairs.mining.engine.kernel import REASONS
from hardpairs.mining.plan import Plan, make_plan
from tests.helpers import run
from tests.mining.searches import themed


@pytest.mark.parametrize("pool", [300, 130])
@pytest.mark.parametrize("list_block", [64, 128])
def test_blocks_of_lists_change_nothing(monkeypatch, list_block, pool):
    image, text = themed(300, 24), themed(300, 16, 1)

    def plan(*, rows, pool, depth, **_):
        return Plan(rows, pool, depth, 4 * depth + 64, 64, 64, list_block, True, 0)

    expected = hard_pairs(image, text, top_k=5, approx=pool)
    monkeypatch.setattr(api, "make_plan", plan)
    indices, scores = hard_pairs(image, text, top_k=5, approx=pool)
    assert (indices == expected[0]).all() and (scores == expected[1]).all()


@pytest.mark.parametrize("pool", [1, 5, 700, 1000])
@pytest.mark.parametrize("list_block", [100, 300, 1000])
def test_tiles_cover_every_pair_once(list_block, pool):
    plan = Plan(1000, pool, 5, 84, 100, 100, list_block, False, 0)
    for start, stop in plan.list_blocks():
        seen = np.zeros((1000, pool), int)
        for tile in plan.tiles(start, stop):
            seen[tile.top : tile.bottom, tile.left : tile.right] += 1
            if tile.both:
                seen[tile.left : tile.right, tile.top : tile.bottom] += 1
        assert (seen[start:stop] == 1).all() and seen.sum() == (stop - start) * pool


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
            assert (
                plan.bytes <= allowed
                and plan.capacity >= 2 * plan.depth
                and plan.list_block <= rows
            )


@pytest.mark.parametrize(
    ("rows", "gigabytes", "free", "mapped", "capacity", "blocks"),
    [
        (1_000_000, 12, 24, False, 304, 1),
        (1_500_000, 12, 24, False, 184, 1),  # less room in each list
        (3_000_000, 12, 24, True, 184, 1),
        (12_000_000, 64, 128, True, 304, 1),
        (12_000_000, 64, 100, True, 184, 1),
        (12_000_000, 64, 80, False, 304, 5),  # mapped rows would come from the disk each time
        (12_000_000, 12, 24, True, 304, 5),
    ],
)
def test_one_block_of_lists_is_preferred(rows, gigabytes, free, mapped, capacity, blocks):
    """Two blocks take half as many products again; mapped rows and less room take a tenth more time."""
    sizes = {"rows": rows, "pool": rows, "widths": [384, 768], "depth": 60, "free": free << 30}
    plan = make_plan(**sizes, max_memory=gigabytes << 30, precision="float32")
    chosen = (plan.mapped, plan.capacity, len(plan.list_blocks()))
    assert chosen == (mapped, capacity, blocks) and plan.bytes <= gigabytes << 30


@pytest.mark.parametrize(("first_target", "pool"), [(0, 1000), (100, 400), (300, 200), (0, 130)])
@pytest.mark.parametrize("list_block", [100, 300, 1000])
def test_pairs_are_those_of_the_tiles(list_block, first_target, pool):
    plan = Plan(1000, pool, 5, 84, 100, 100, list_block, False, 0, first_target=first_target)
    tiles = [tile for block in plan.list_blocks() for tile in plan.tiles(*block)]
    diagonal = sum(tile.pairs for tile in tiles if tile.top == tile.left)
    assert (
        planning._pairs(plan)
        <= sum(tile.pairs for tile in tiles)
        <= (planning._pairs(plan) + diagonal)
    )


def test_constants_of_the_plan_are_those_of_the_lists():
    assert (planning.ENTRY_BYTES, planning.ROW_BYTES) == (lists.ENTRY_BYTES, lists.ROW_BYTES)
    others, key, position, number = 8, 8, 8, 8
    assert 8 * REASONS + others + key + position + number == planning.DECIDED_ROW_BYTES


@pytest.mark.parametrize("block", [64, 100, 150])
def test_blocks_smaller_than_a_tile_change_nothing(monkeypatch, block):
    image, text = themed(300, 24), themed(300, 16, 1)
    expected = hard_pairs(image, text, top_k=5)

    def plan(*, rows, pool, depth, **_):
        return Plan(rows, pool, depth, 4 * depth + 64, 256, block, rows, False, 0)

    monkeypatch.setattr(api, "make_plan", plan)
    indices, scores = hard_pairs(image, text, top_k=5)
    assert (indices == expected[0]).all() and (scores == expected[1]).all()


MEASURE = """
import resource, sys
import numpy as np
from hardpairs.mining.api import Execution, MiningOptions, search
rng = np.random.default_rng(0)
centers = rng.normal(size=(300, 64))
def rows(width):
    noise = rng.normal(size=(8000, width))
    return (centers[rng.integers(0, 300, 8000), :width] + noise).astype(np.float32)

image, text = rows(64), rows(48)
search(image[:3000], text[:3000], MiningOptions())  # loads the compiled loops, torch's buffers, ...
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
execution = Execution(max_memory=int(sys.argv[1]), verbose=True)
search(image, text, MiningOptions(), execution=execution)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.parametrize("allowed", [92_000_000, 300_000_000])
def test_memory_stays_within_what_is_allowed(allowed):
    done = run("python", "-c", MEASURE, str(allowed))
    assert done.returncode == 0, done.stderr
    assert ("blocks of" in done.stderr) == (allowed < 100_000_000)
    assert int(done.stdout) <= allowed
