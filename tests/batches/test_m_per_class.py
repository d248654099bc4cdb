"""Laws of batches with m rows of each class."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hardpairs.batches import TARGET, MPerClassBatchSampler
from hardpairs.batches.m_per_class import label_groups
from hardpairs.core.errors import UserError
from tests.batches.helpers import all_ranks, check_batches, epoch


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    m=st.integers(1, 4),
    seed=st.integers(0, 9),
)
@settings(deadline=None)
def test_groups_hold_each_row_of_a_class(sizes, m, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rows = np.random.default_rng(seed).permutation(labels.size)
    groups = label_groups(rows, labels[rows], m, np.random.default_rng(seed))
    assert len(groups) == sum(-(-size // m) for size in sizes)
    found = [[row for row in group if row >= 0] for group in groups.tolist()]
    assert all(len(set(group)) == len(group) and len(set(labels[group])) == 1 for group in found)
    assert all(len(group) == min(m, sizes[labels[group[0]]]) for group in found)
    assert Counter(row for group in found for row in group).keys() == set(range(labels.size))


@given(
    world_size=st.integers(1, 8),
    m=st.integers(1, 3),
    groups=st.integers(1, 2),
    count=st.sampled_from([64, 97, 127]),
    num_labels=st.integers(2, 40),
    seed=st.integers(0, 9),
    number=st.integers(0, 2),
)
@settings(max_examples=40, deadline=None)
def test_laws(world_size, m, groups, count, num_labels, seed, number):
    rng = np.random.default_rng(seed)
    labels, exclude = (
        rng.integers(0, num_labels, count),
        np.sort(rng.choice(count, 5, replace=False)),
    )
    kept = np.setdiff1d(np.arange(count), exclude)
    sizes = Counter(labels[kept].tolist())
    per_batch = groups * world_size
    assume(per_batch <= len(sizes) and per_batch * m <= len(kept))
    options = {"m_per_class": m, "seed": seed, "exclude": exclude}
    ranks = all_ranks(
        MPerClassBatchSampler,
        count,
        labels,
        world_size=world_size,
        batch_size=groups * m,
        **options,
    )
    batches = epoch(ranks, number)
    check_batches(batches, per_batch * m, exclude)
    one = epoch([MPerClassBatchSampler(count, labels, batch_size=per_batch * m, **options)], number)
    assert all((a[0] == b[0]).all() for a, b in zip(batches, one, strict=True))
    groups_of = {label: -(-size // m) for label, size in sizes.items() if size > 1}
    alone = sum(size == 1 for size in sizes.values())
    groups_made = sum(groups_of.values()) + -(-alone // m)
    most = max([*groups_of.values(), -(-alone // m)])
    for rows, roles, _ in batches:
        for group, role in zip(rows.reshape(-1, m), roles.reshape(-1, m), strict=True):
            together = set(labels[group[role == TARGET]].tolist())
            assert len(together) <= 1 or all(sizes[label] == 1 for label in together)
    if (
        most <= len(batches) and groups_made % per_batch == 0
    ):  # no class is too large, no place is filled again
        targets = np.concatenate([rows[roles == TARGET] for rows, roles, _ in batches])
        seen = Counter(targets.tolist())
        assert seen.keys() == set(kept.tolist()) and max(seen.values()) <= 2
        repeats = sum(-size % m for size in sizes.values() if size >= m) + (
            -alone % m if alone >= m else 0
        )
        assert len(targets) == len(kept) + repeats
        for rows, _, _ in batches:
            firsts = labels[rows.reshape(-1, m)[:, 0]]
            assert len(set(firsts.tolist())) == per_batch  # each class once in a batch
    else:
        seen = {row for rows, roles, _ in batches for row in rows[roles == TARGET].tolist()}
        assert most > len(batches) or seen == set(kept.tolist())


def test_rows_that_are_alone_stand_together():
    """Half the rows without a label: no place is filled at random for them, and each is seen."""
    labels = np.concatenate([np.arange(200) // 4, np.arange(1000, 1200)])
    batches = epoch([MPerClassBatchSampler(400, labels, batch_size=30, m_per_class=3, seed=1)], 0)
    assert all((roles == TARGET).all() for _, roles, _ in batches)
    alone = Counter(row for rows, _, _ in batches for row in rows.tolist() if row >= 200)
    assert alone.keys() == set(range(200, 400)) and max(alone.values()) <= 2
    for rows, _, _ in batches:
        assert all(
            len(set(labels[group].tolist())) == 1 or (group >= 200).all()
            for group in rows.reshape(-1, 3)
        )


@pytest.mark.parametrize(
    ("labels", "options", "says"),
    [
        (np.arange(20), {"batch_size": 4}, "`group_key`"),
        (np.arange(20) // 2, {"batch_size": 5}, "`batch_size` 4 or 6"),
        (
            np.arange(20) // 5,
            {"batch_size": 10},
            "4 labels, a global batch of 10 needs 5.*\n.*\n?.*`batch_size` 8",
        ),
    ],
)
def test_refusals(labels, options, says):
    with pytest.raises(UserError, match=says):
        MPerClassBatchSampler(20, labels, **options)


def test_an_option_out_of_range():
    with pytest.raises(ValueError, match="`m_per_class` must be at least 1"):
        MPerClassBatchSampler(20, np.arange(20) // 2, batch_size=4, m_per_class=0)
