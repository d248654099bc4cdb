"""The simulator adds up the engine's own tiles; the closed form says the same without them."""

from __future__ import annotations

import numpy as np
import pytest

from hardpairs.core.ranks import Ranks
from hardpairs.mining.plan import Plan
from hardpairs.planning.mining_cost import compared
from hardpairs.planning.schedule import simulate, simulated_seconds
from tests.planning.machines import MACHINE


def plan(rows: int, tile: int, list_block: int, visiting: int = 0) -> Plan:
    return Plan(rows, rows, 5, 84, tile, tile, list_block, False, 0, visiting=visiting)


def total(visits):
    return (
        sum(visit.work.pairs for visit in visits),
        sum(visit.work.mirrored for visit in visits),
    )


@pytest.mark.parametrize("rows", [1, 99, 100, 1000, 1037])
@pytest.mark.parametrize("list_block", [100, 300, 2000])
def test_the_closed_form_is_the_sum_over_all_pairs_of_rows(rows, list_block):
    sizes = plan(rows, 100, list_block)
    offers = np.zeros((rows, rows), int)
    for start, stop in sizes.list_blocks():
        for tile in sizes.tiles(start, stop):
            offers[tile.top : tile.bottom, tile.left : tile.right] += 1 + tile.both * rows
    work = compared(sizes)
    assert work.pairs == (offers % rows if rows > 1 else offers).astype(bool).sum()
    assert work.mirrored == (offers > rows).sum() * (rows > 1)
    assert (work.pairs, work.mirrored) == total(simulate(sizes, Ranks()))


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_processes_have_equal_shares_up_to_a_tile(processes):
    sizes = plan(3037, 100, 1500)
    each = [total(simulate(sizes, Ranks(rank, processes))) for rank in range(processes)]
    alone = compared(sizes)
    assert sum(pairs for pairs, _ in each) == alone.pairs
    blocks = len(sizes.list_blocks())
    most = max(pairs for pairs, _ in each)
    assert 0 <= most - compared(sizes, processes).pairs <= blocks * 100**2


@pytest.mark.parametrize("processes", [2, 3, 5])
@pytest.mark.parametrize("list_block", [600, 3000])
def test_in_a_ring_each_process_compares_its_share_with_all(processes, list_block):
    sizes = plan(3000, 50, list_block, visiting=200)
    for rank in range(processes):
        visits = simulate(sizes, Ranks(rank, processes))
        assert total(visits) == (compared(sizes, processes).pairs, total(visits)[1])
        sent = sum(visit.sent for visit in visits) / len(sizes.list_blocks())
        assert sent == 3000 - 3000 / processes


def test_a_slow_network_is_waited_for():
    import dataclasses

    sizes = plan(3000, 50, 3000, visiting=200)
    computing, waiting = simulated_seconds(MACHINE, sizes, [64, 64], 3)
    assert computing > 0 and waiting == 0
    slow = dataclasses.replace(MACHINE, network_rate=1e3)
    assert simulated_seconds(slow, sizes, [64, 64], 3)[1] == pytest.approx(
        2000 * 512 / 1e3, rel=0.01
    )
