"""Every process meets every candidate once, and passes on what the next one waits for."""

import numpy as np
import pytest

from hardpairs.core.ranks import Ranks
from hardpairs.mining.plan import Plan
from hardpairs.mining.route import make_route

SIZES = [(1000, 1000, 0, 1000), (1000, 1000, 0, 300), (997, 450, 0, 320), (500, 7, 5, 60)]
"""Rows, candidates, the first target, and rows of a block of lists."""


def plan_of(rows: int, pool: int, first_target: int, list_block: int) -> Plan:
    sizes = (rows, pool, 5, 84, 50, 50, list_block)
    return Plan(*sizes, False, 0, first_target=first_target, visiting=70)


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
@pytest.mark.parametrize("sizes", SIZES)
def test_rows_are_kept_once_and_met_once(sizes, processes):
    plan = plan_of(*sizes)
    kept = np.zeros(plan.rows, int)
    for rank in range(processes):
        route = make_route(plan, Ranks(rank, processes))
        met = np.zeros(plan.rows, int)
        for start, stop in route.own:
            kept[start:stop] += 1
            met[start:stop] += 1
        for visit in range(1, route.visits):
            start, stop = route.block(visit)
            assert stop - start <= 70
            met[start:stop] += 1
        assert (met[: plan.pool] == 1).all()
    assert (kept == 1).all()


@pytest.mark.parametrize("processes", [2, 3, 4])
@pytest.mark.parametrize("sizes", SIZES)
def test_what_is_sent_is_there_and_is_what_the_one_before_waits_for(sizes, processes):
    routes = [make_route(plan_of(*sizes), Ranks(rank, processes)) for rank in range(processes)]
    for rank, route in enumerate(routes):
        for visit in range(1, route.visits):
            sent = route.sent(visit)
            assert sent == routes[rank - 1].block(visit)
            if visit == route.round_start(visit):
                assert any(start <= sent[0] <= sent[1] <= stop for start, stop in route.own) or (
                    sent[0] >= sent[1]
                )
            else:
                assert sent == route.block(visit - 1)


@pytest.mark.parametrize("sizes", SIZES)
def test_tiles_are_cut_where_their_columns_are_here(sizes):
    plan, ranks = plan_of(*sizes), Ranks(1, 3)
    route = make_route(plan, ranks)
    for start, stop in plan.list_blocks():
        top, bottom = ranks.share(start, stop)
        seen = np.zeros((plan.rows, plan.pool), int)
        for visit, tiles in enumerate(route.tiles_by_visit(plan.tiles(top, bottom))):
            here = [route.block(visit)] if visit else route.own
            for tile in tiles:
                assert any(left <= tile.left and tile.right <= right for left, right in here)
                seen[tile.top : tile.bottom, tile.left : tile.right] += 1
                if tile.both:
                    seen[tile.left : tile.right, tile.top : tile.bottom] += 1
        assert (seen[top:bottom] == 1).all() and seen.sum() == (bottom - top) * plan.pool
