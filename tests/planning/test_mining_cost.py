"""What the model of mining says of time, memory and files."""

from __future__ import annotations

import itertools

import pytest

from hardpairs.data.hard_pairs import table_folder, write_table
from hardpairs.mining.api import hard_pairs
from hardpairs.planning.made_rows import themed_rows
from hardpairs.planning.mining_cost import (
    Work,
    clusters_of,
    compared,
    list_seconds,
    mining_cost,
    mining_plan,
    table_bytes,
)
from hardpairs.planning.schedule import simulated_seconds
from tests.planning.machines import MACHINE, MINING

SIZES = (1_000, 30_000, 100_000, 3_000_000, 12_000_000, 400_000_000)


@pytest.mark.parametrize("share", [1.0, 0.05])
@pytest.mark.parametrize("processes", [1, 2, 128])
def test_more_rows_cost_more(processes, share):
    widths = [384, 768]
    costs = [mining_cost(MACHINE, rows, widths, processes=processes, share=share) for rows in SIZES]
    limits = {"processes": processes, "max_memory": None, "top_k": 50}
    plans = [mining_plan(MACHINE, rows, widths, **limits)[0] for rows in SIZES]
    fit = [cost for cost in costs if cost.fits]
    assert fit == costs[: len(fit)]
    for group in (fit, costs[len(fit) :]):
        for name in ("seconds", "written", "kept", "read"):
            amounts = [getattr(cost, name) for cost in group]
            assert amounts == sorted(amounts), name
        for in_a_ring in (False, True):  # where a process has fewer rows and lists
            pairs = zip(costs, plans, strict=True)
            memory = [
                cost.memory
                for cost, plan in pairs
                if cost in group and bool(plan.visiting) == in_a_ring
            ]
            # At the limit, blocks of lists end with a whole tile.
            assert all(more > 0.99 * less for less, more in itertools.pairwise(memory))


def test_more_processes_take_less_time_where_pairs_decide():
    times = [
        mining_cost(MACHINE, 1_000_000, [384, 768], processes=count).seconds
        for count in (1, 2, 4, 8)
    ]
    assert times == sorted(times, reverse=True)
    assert times[0] / times[1] > 1.5


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_the_simulator_takes_as_long(processes):
    plan, fits = mining_plan(
        MACHINE, 60_000, [64, 64], processes=processes, max_memory=None, top_k=50
    )
    seconds = sum(simulated_seconds(MACHINE, plan, [64, 64], processes))
    assert fits
    expected = compared(plan, processes).seconds(MINING, [64, 64], 1024)
    assert seconds == pytest.approx(expected, rel=0.02)


def test_pairs_take_their_products_and_scans():
    assert Work(1000, 400).seconds(MINING, [64, 768], 1024) == pytest.approx(
        1000 * (832e-10 + 1e-9) + 400 * 5e-10
    )
    assert Work(1000, 0).seconds(MINING, [64], 256) == pytest.approx(1000 * (128e-10 + 1e-9))
    assert Work(1000, 0).seconds(MINING, [416], 512) == pytest.approx(1000 * (624e-10 + 1e-9))


def test_clusters_that_all_are_compared_cost_what_the_exact_search_does():
    plan, _ = mining_plan(MACHINE, 100_000, [64, 64], processes=1, max_memory=None, top_k=50)
    exact, nearly = compared(plan), compared(plan, share=0.999999)
    assert nearly.pairs == pytest.approx(exact.pairs, rel=0.03)
    assert compared(plan, share=0.05).pairs < 0.06 * exact.pairs
    assert (clusters_of(100), clusters_of(100_000), clusters_of(10**9)) == (1, 390, 4096)


def test_a_list_is_filled_settled_and_decided():
    fill, settle, decide = list_seconds(MINING, 128, 50, 4 * 4096)
    assert (fill, settle, decide) == pytest.approx((6e-5, 1e-5, 5e-6))
    assert list_seconds(MINING, 128, 50, 4096, visits=4)[1] == pytest.approx(1e-5 * (25 / 12))
    assert list_seconds(MINING, 832, 25, 4096)[0] == pytest.approx(2.5e-5)


def test_what_does_not_fit_is_said():
    cost = mining_cost(MACHINE, 400_000_000, [512, 512], processes=8)
    assert not cost.fits and cost.memory > MACHINE.free_memory
    assert mining_cost(MACHINE, 1000, [64, 64]).fits


def test_a_ring_sends_the_rows_of_the_others():
    limits = {"processes": 2, "max_memory": 600_000_000, "top_k": 50}
    plan, fits = mining_plan(MACHINE, 100_000, [768, 768], **limits)
    assert fits and plan.visiting
    cost = mining_cost(MACHINE, 100_000, [768, 768], **limits)
    final_lists = 50_000 * (12 * plan.depth + 8)
    assert cost.network == 50_000 * 1536 * 4 * len(plan.list_blocks()) + final_lists


def test_processes_send_each_other_lists():
    plan, _ = mining_plan(MACHINE, 100_000, [64, 64], processes=4, max_memory=None, top_k=50)
    sent = mining_cost(MACHINE, 100_000, [64, 64], processes=4).network
    others, final = 75_000 * (13 * plan.depth // 4 + 9), 25_000 * (12 * plan.depth + 8)
    assert not plan.visiting and sent == others + final
    assert mining_cost(MACHINE, 100_000, [64, 64]).network == 0


def test_the_table_has_the_predicted_bytes(tmp_path):
    image, text = themed_rows(60, (8, 8))
    indices, scores = hard_pairs(image, text, top_k=7)
    folder = table_folder(tmp_path, "made")
    write_table(folder, indices, scores, {"kind": "hard_pairs"})
    size = sum(path.stat().st_size for path in folder.glob("*.npy"))
    assert size == table_bytes(60, 7) == mining_cost(MACHINE, 60, [8, 8], top_k=7).kept
