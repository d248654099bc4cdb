"""Laws of batches of neighborhoods, and what the orders behind them are worth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardpairs.batches import TARGET, NeighborhoodBatchSampler, RandomBatchSampler
from hardpairs.batches.neighborhood import (
    bandwidth_order,
    community_order,
    hard_pair_graph,
    leveled,
    refilled,
)
from hardpairs.core.errors import UserError
from tests.batches.helpers import all_ranks, check_batches, epoch, random_table, table_of


@given(
    world_size=st.integers(1, 8),
    pieces=st.integers(1, 2),
    size=st.integers(2, 5),
    count=st.sampled_from([97, 101, 128]),
    seed=st.integers(0, 9),
    number=st.integers(0, 2),
    shift=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_laws(world_size, pieces, size, count, seed, number, shift):
    exclude = np.sort(np.random.default_rng(seed).choice(count, 5, replace=False))
    order = bandwidth_order(hard_pair_graph(random_table(count, 4, seed), 0, 4))
    options = {"size": size, "shift": shift, "seed": seed, "exclude": exclude}
    ranks = all_ranks(
        NeighborhoodBatchSampler,
        count,
        lambda: order,
        world_size=world_size,
        batch_size=pieces * size,
        **options,
    )
    batches = epoch(ranks, number)
    check_batches(batches, pieces * size * world_size, exclude)
    targets = np.concatenate([rows[roles == TARGET] for rows, roles, _ in batches])
    assert np.sort(targets).tolist() == np.setdiff1d(np.arange(count), exclude).tolist()
    one = epoch(
        [
            NeighborhoodBatchSampler(
                count, lambda: order, batch_size=pieces * size * world_size, **options
            )
        ],
        number,
    )
    assert all((a[0] == b[0]).all() for a, b in zip(batches, one, strict=True))
    if not shift:
        order = refilled(order, ~np.isin(order, exclude), size)
    positions = np.argsort(np.setdiff1d(order, exclude, assume_unique=True))  # of kept rows, by row
    position = dict(
        zip(np.setdiff1d(np.arange(count), exclude).tolist(), positions.tolist(), strict=True)
    )
    for group in np.concatenate([rows for rows, _, _ in batches[:-1]]).reshape(-1, size):
        steps = np.diff([position[row] for row in group.tolist()])
        assert np.isin(
            steps, [1, 1 - len(positions)]
        ).all()  # consecutive in the order, round its end
    other = epoch(ranks, number + 1)
    assert len(batches) == 1 or [b[0].tolist() for b in batches] != [b[0].tolist() for b in other]
    if (
        pieces * world_size > 1 and len(batches) > 2
    ):  # a batch that is one neighborhood may come again as it was
        assert {frozenset(b[0].tolist()) for b in batches} != {
            frozenset(b[0].tolist()) for b in other
        }


def test_graph_against_its_definition():
    table = random_table(30, 5, 3)
    graph = hard_pair_graph(table, 1, 3).toarray()
    expected = np.zeros((30, 30), bool)
    for row in range(30):
        for partner in table.indices[row, 1:4]:
            if partner >= 0:
                expected[row, partner] = expected[partner, row] = True
    assert (graph == expected).all()
    with pytest.raises(UserError, match="after its first 5"):
        hard_pair_graph(table, 5, 3)


def cliques(count: int, size: int, seed: int = 0):
    """(table, clique of each row): hidden cliques whose rows list one another."""
    rows = np.random.default_rng(seed).permutation(count).reshape(-1, size)
    indices = np.empty((count, size - 1), np.int64)
    of_row = np.empty(count, np.int64)
    for number, members in enumerate(rows):
        of_row[members] = number
        for member in members:
            indices[member] = members[members != member]
    return table_of(indices), of_row


def together(sampler, table) -> float:
    """Mean number of a row's own hard pairs that are in its batch."""
    return float(
        np.mean(
            [np.isin(table.indices[rows], rows).sum(1).mean() for rows, _, _ in epoch([sampler])]
        )
    )


def test_hidden_cliques_come_into_one_batch():
    table, of_row = cliques(480, 8)
    order = bandwidth_order(hard_pair_graph(table, 0, 7))
    sampler = NeighborhoodBatchSampler(480, lambda: order, size=8, shift=False, batch_size=24)
    assert all(len(set(of_row[rows])) == 3 for rows, _, _ in epoch([sampler]))
    assert (
        together(sampler, table) == 7
        and together(RandomBatchSampler(480, batch_size=24), table) < 1
    )


@given(gone=st.lists(st.integers(0, 479), max_size=120, unique=True))
@settings(deadline=None, max_examples=30)
def test_communities_stay_together_where_rows_are_missing(gone):
    """One row that could not be downloaded does not cut all communities after it in two."""
    _, of_row = cliques(480, 8)
    order = np.argsort(of_row, kind="stable")
    exclude = np.sort(np.array(gone, np.int64))
    sampler = NeighborhoodBatchSampler(
        480, lambda: order, size=8, shift=False, batch_size=8, exclude=exclude
    )
    kept = np.setdiff1d(np.arange(480), exclude)
    assert sorted(sampler.order.tolist()) == kept.tolist()
    untouched = sorted(set(of_row.tolist()) - set(of_row[exclude].tolist()))
    pieces = [
        of_row[rows].tolist() for rows, roles, _ in epoch([sampler]) if (roles == TARGET).all()
    ]
    assert all([number] * 8 in pieces for number in untouched)


def test_communities():
    pytest.importorskip("pymetis")
    table, _ = cliques(480, 8)
    order = community_order(hard_pair_graph(table, 0, 7), 8)
    assert sorted(order.tolist()) == list(range(480))
    sampler = NeighborhoodBatchSampler(480, lambda: order, size=8, shift=False, batch_size=24)
    assert together(sampler, table) > 6
    assert (community_order(hard_pair_graph(table, 0, 7), 8) == order).all()


@given(part=st.lists(st.integers(0, 5), min_size=1, max_size=40), size=st.integers(1, 10))
@settings(deadline=None)
def test_leveled(part, size):
    """Every row once; a part's rows together as far as ``size`` allows."""
    parts = -(-len(part) // size)
    part = np.array(part) % parts
    order = leveled(part, size)
    assert sorted(order.tolist()) == list(range(len(part)))
    pieces = [order[start : start + size] for start in range(0, len(order), size)]
    whole = [number for number in range(parts) if (part == number).sum() >= size]
    assert [sum((part[piece] == number).all() for piece in pieces) for number in whole] >= [
        1
    ] * len(whole)


@pytest.mark.parametrize("size", [1, 5, 48])
def test_a_size_that_does_not_divide_the_batch(size):
    with pytest.raises(UserError, match="one of 2, 3, 4, 6, 8, 12, 24"):
        NeighborhoodBatchSampler(
            60, lambda: pytest.fail("asked too early"), size=size, batch_size=24
        )
