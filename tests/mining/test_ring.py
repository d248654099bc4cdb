"""Rows that come by are those of their owners, and take no memory once they have left."""

import numpy as np
import pytest

from hardpairs.core.memory import reserve
from hardpairs.core.ranks import Ranks
from hardpairs.mining.plan import Plan
from hardpairs.mining.ring import Ring
from hardpairs.mining.route import make_route
from hardpairs.mining.unit_vectors import UnitVectors, round_vectors
from tests.mining.thread_ranks import in_threads

ROWS, WIDTH, PROCESSES = 300, 1024, 3  # a row is a page


def follow(ranks: Ranks, unit: np.ndarray, rounded: np.ndarray, first: int) -> list[int]:
    """Check the rows that are there at each visit from ``first`` on; return the visits."""
    plan = Plan(ROWS, 250, 5, 84, 20, 20, 120, False, 0, visiting=16)
    route = make_route(plan, ranks)
    own, low = reserve(unit.shape, np.float32), reserve(unit.shape, np.uint16)
    for start, stop in route.own:
        own[start:stop], low[start:stop] = unit[start:stop], rounded[start:stop]
    kept = np.flatnonzero(own.any(axis=1))
    visits = []
    for visit in Ring(UnitVectors([own], [low], [0.0]), route, ranks).visits(first):
        visits.append(visit)
        start, stop = route.block(visit) if visit else route.own[0]
        assert np.array_equal(own[start:stop], unit[start:stop])
        assert np.array_equal(low[start:stop], rounded[start:stop])
    assert np.array_equal(np.flatnonzero(own.any(axis=1)), kept)
    return visits


@pytest.mark.parametrize(("first", "start"), [(0, 0), (1, 1), (4, 3), (7, 7)])
def test_rows_come_by_and_leave(first, start):
    """From any visit on: with two others, rounds begin at odd ones."""
    unit = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)
    rounded = np.empty(unit.shape, np.uint16)
    round_vectors(unit, rounded)
    visits = in_threads(PROCESSES, lambda ranks: follow(ranks, unit, rounded, first))
    plan = Plan(ROWS, 250, 5, 84, 20, 20, 120, False, 0, visiting=16)
    last = make_route(plan, Ranks(0, PROCESSES)).visits
    assert visits == [[*range(start, last)]] * PROCESSES


def test_one_process_meets_its_own_rows_alone():
    plan = Plan(40, 40, 5, 84, 20, 20, 40, False, 0, visiting=16)
    vectors = UnitVectors([np.ones((40, 2), np.float32)], [np.ones((40, 2), np.float32)], [0.0])
    assert [*Ring(vectors, make_route(plan, Ranks()), Ranks()).visits()] == [0]
