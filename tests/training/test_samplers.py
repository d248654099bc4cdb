"""Laws of the batches, for many sizes, ragged tables and all ways to cut a global batch into ranks."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.errors import UserError
from tests.helpers import ragged_table
from training.samplers import ANCHOR, MINED, RANDOM, HardPairBatchSampler, RandomBatchSampler


def table_of(indices):
    return SimpleNamespace(indices=indices.astype(np.int32), lengths=(indices >= 0).sum(1).astype(np.int32))


def samplers(count, table, world_size, batch_size, **options):
    return [HardPairBatchSampler(count, table, batch_size=batch_size, rank=r, world_size=world_size, **options) for r in range(world_size)]


def epoch(ranks, number):
    """Global batches (rows, roles) of an epoch, ranks joined."""
    for rank in ranks:
        rank.set_epoch(number)
    plans = [[rank.plan(b) for rank in ranks] for b in range(len(ranks[0]))]
    return [(np.concatenate([p.rows for p in row]), np.concatenate([p.roles for p in row]), row) for row in plans]


@given(
    count=st.integers(40, 97),
    width=st.integers(1, 12),
    topk=st.integers(1, 12),
    per_target=st.integers(1, 3),
    world_size=st.sampled_from([1, 2, 4, 8]),
    seed=st.integers(0, 5),
    number=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_laws(count, width, topk, per_target, world_size, seed, number):
    indices, _ = ragged_table(count, width, seed)
    global_batch = 8 * (1 + per_target)
    options = {"hard_per_target": per_target, "hard_topk": topk, "seed": seed}
    ranks = samplers(count, table_of(indices), world_size, global_batch // world_size, **options)
    batches = epoch(ranks, number)
    targets = np.concatenate([rows[roles == ANCHOR] for rows, roles, _ in batches])
    assert (np.sort(targets[:count]) == np.arange(count)).all()  # every row is a target once...
    assert (targets[count:] == targets[: len(targets) - count]).all()  # ...and the top-up comes from the start of the order
    for rows, roles, plans in batches:
        assert len(np.unique(rows)) == global_batch  # no row twice
        assert (roles.reshape(-1, 1 + per_target)[:, 0] == ANCHOR).all()
        for group, group_roles in zip(rows.reshape(-1, 1 + per_target), roles.reshape(-1, 1 + per_target), strict=True):
            first_k = set(indices[group[0], :topk].tolist()) - {-1}
            for partner, role in zip(group[1:], group_roles[1:], strict=True):
                assert role == (MINED if partner in first_k else RANDOM) or role == RANDOM
                if role == RANDOM:  # only when every partner of its list is in the batch already
                    assert first_k <= set(rows.tolist())
        reserves = np.concatenate([plan.reserves for plan in plans])
        assert len(np.unique(reserves)) == len(reserves) and not np.isin(reserves, rows).any()


@given(seed=st.integers(0, 100), number=st.integers(0, 3))
@settings(max_examples=15, deadline=None)
def test_global_batches_do_not_depend_on_the_world(seed, number):
    table = table_of(ragged_table(61, 6, seed)[0])
    reference = [rows for rows, _, _ in epoch(samplers(61, table, 1, 16, seed=seed), number)]
    for world_size in (2, 4, 8):
        rows = [rows for rows, _, _ in epoch(samplers(61, table, world_size, 16 // world_size, seed=seed), number)]
        assert all((a == b).all() for a, b in zip(rows, reference, strict=True))


def test_any_batch_by_its_number_and_the_same_again():
    table = table_of(ragged_table(100, 5)[0])
    whole = list(HardPairBatchSampler(100, table, batch_size=10))
    assert (HardPairBatchSampler(100, table, batch_size=10).batch(7) == whole[7]).all()
    other_epoch = HardPairBatchSampler(100, table, batch_size=10)
    other_epoch.set_epoch(1)
    assert not (other_epoch.batch(7) == whole[7]).all()
    assert not (HardPairBatchSampler(100, table, batch_size=10, seed=1).batch(7) == whole[7]).all()
    with pytest.raises(IndexError):
        other_epoch.batch(len(other_epoch))


def test_accumulation_keeps_the_laws_over_the_step():
    table = table_of(ragged_table(80, 5)[0])
    sampler = HardPairBatchSampler(80, table, batch_size=8, accumulate=3)
    assert len(sampler) % 3 == 0
    for step in range(len(sampler) // 3):
        rows = np.concatenate([sampler.batch(step * 3 + micro) for micro in range(3)])
        assert len(np.unique(rows)) == 24


def test_partners_are_drawn_evenly():
    indices = np.tile(np.arange(4), (1000, 1))
    indices = np.concatenate([np.full((4, 4), -1), indices[4:]])
    sampler = HardPairBatchSampler(1000, table_of(indices), batch_size=2)
    drawn = np.concatenate([rows[1:][roles[1:] == MINED] for e in range(2) for rows, roles, _ in epoch([sampler], e)])
    counts = np.bincount(drawn, minlength=4)
    assert counts.min() > 0.8 * counts.max()


def test_empty_rows_are_skipped_on_request_and_excluded_rows_are_nowhere():
    indices, _ = ragged_table(60, 4)
    exclude = np.array([1, 2, 3])
    sampler = HardPairBatchSampler(60, table_of(indices), batch_size=6, empty_rows="skip", exclude=exclude)
    batches = epoch([sampler], 0)
    targets = np.concatenate([rows[roles == ANCHOR] for rows, roles, _ in batches])
    assert set(targets) == {row for row in range(60) if row not in exclude and (indices[row] >= 0).any()}
    assert not any(np.isin(rows, exclude).any() or np.isin(plan.reserves, exclude).any() for rows, _, plans in batches for plan in plans)


@pytest.mark.parametrize("world_size", range(1, 9))
def test_random_batches_cover_the_data_once(world_size):
    ranks = [RandomBatchSampler(101, batch_size=4, rank=r, world_size=world_size, seed=1) for r in range(world_size)]
    rows = np.concatenate([rank.batch(b) for b in range(len(ranks[0])) for rank in ranks])
    assert set(rows) == set(range(101)) and len(rows) < 101 + 4 * world_size


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_size": 7}, "--batch-size 6 or 8"),
        ({"batch_size": 20, "world_size": 4}, "30 usable rows are fewer than one global batch of 80"),
        ({"batch_size": 2, "hard_topk": 0}, "at least 1"),
    ],
)
def test_sizes_that_do_not_fit(options, says):
    with pytest.raises(UserError, match=says) as error:
        HardPairBatchSampler(30, table_of(ragged_table(30, 3)[0]), **options)
    assert error.value.code == 2
