"""Laws of batches of a label and its nearest labels, and where the nearest come from."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hardpairs.batches import HARD_PAIR, TARGET
from hardpairs.batches.class_neighbors import (
    ClassNeighborBatchSampler,
    labels_of_hard_pairs,
    nearest_labels,
)
from hardpairs.core.errors import UserError
from tests.batches.helpers import all_ranks, check_batches, epoch, table_of


@given(
    world_size=st.sampled_from([1, 2, 4]),
    m=st.integers(1, 3),
    k=st.integers(1, 3),
    families=st.integers(1, 2),
    num_labels=st.integers(2, 12),
    seed=st.integers(0, 9),
    number=st.integers(0, 2),
)
@settings(max_examples=40, deadline=None)
def test_laws(world_size, m, k, families, num_labels, seed, number):
    rng = np.random.default_rng(seed)
    count = 120
    labels, exclude = (
        5 * rng.integers(0, num_labels, count),
        np.sort(rng.choice(count, 5, replace=False)),
    )
    names = np.unique(labels)
    neighbors = np.array(
        [rng.permutation(np.delete(np.arange(len(names)), c))[:k] for c in range(len(names))],
        np.int64,
    )
    if neighbors.shape[1] < k:
        neighbors = np.pad(neighbors, ((0, 0), (0, k - neighbors.shape[1])), constant_values=-1)
    size = families * m * (1 + k)
    kept = np.setdiff1d(np.arange(count), exclude)
    assume(size * world_size <= len(kept))
    options = {"m_per_class": m, "class_neighbors": k, "seed": seed, "exclude": exclude}
    batches = epoch(
        all_ranks(
            ClassNeighborBatchSampler,
            count,
            labels,
            neighbors,
            world_size=world_size,
            batch_size=size,
            **options,
        ),
        number,
    )
    check_batches(batches, size * world_size, exclude)
    one = epoch(
        [
            ClassNeighborBatchSampler(
                count, labels, neighbors, batch_size=size * world_size, **options
            )
        ],
        number,
    )
    assert all(
        (a[0] == b[0]).all() and (a[1] == b[1]).all() for a, b in zip(batches, one, strict=True)
    )
    leads = set()
    for rows, roles, _ in batches:
        for family, role in zip(
            rows.reshape(-1, 1 + k, m), roles.reshape(-1, 1 + k, m), strict=True
        ):
            own = set(labels[family[0][role[0] == TARGET]].tolist())
            assert len(own) <= 1 and not (role[0] == HARD_PAIR).any()
            leads |= set(family[0][role[0] == TARGET].tolist())
            for number in range(k):
                hard = labels[family[1 + number][role[1 + number] == HARD_PAIR]]
                if len(hard) and own:
                    (lead,) = own
                    assert set(hard.tolist()) == {
                        names[neighbors[np.searchsorted(names, lead), number]]
                    }
    assert leads == set(
        kept.tolist()
    )  # every row leads once; those that fill the end of the epoch lead twice


def test_an_epoch_is_in_another_order_than_the_one_before():
    labels, neighbors = np.arange(24) // 4, np.roll(np.arange(6), 1)[:, None]
    sampler = ClassNeighborBatchSampler(24, labels, neighbors, batch_size=8, class_neighbors=1)
    first, second = (
        np.concatenate([rows for rows, _, _ in epoch([sampler], number)]) for number in (0, 1)
    )
    assert (first != second).any()


def test_the_neighbor_is_there():
    """With rows enough in every label, no row of a neighbor is random."""
    labels, neighbors = np.arange(24) // 4, np.roll(np.arange(6), 1)[:, None]
    batches = epoch(
        [ClassNeighborBatchSampler(24, labels, neighbors, batch_size=4, class_neighbors=1)], 0
    )
    assert len(batches) == 12
    for rows, roles, _ in batches:
        assert roles.tolist() == [TARGET, TARGET, HARD_PAIR, HARD_PAIR]
        lead, neighbor = labels[rows[:2]], labels[rows[2:]]
        assert (
            lead[0] == lead[1]
            and (neighbor == (lead - 1) % 6).all()
            and len(set(rows.tolist())) == 4
        )


def test_nearest_labels_are_those_of_the_means():
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(60, 8)), np.repeat(np.arange(12), 5)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    means = np.array([unit[labels == c].mean(axis=0) for c in range(12)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    naive = [
        [int(o) for o in np.argsort(-(means @ means[c]), kind="stable") if o != c][:3]
        for c in range(12)
    ]
    assert nearest_labels(rows, labels, 3).tolist() == naive


def test_equal_labels_are_not_their_own_neighbors():
    rows = np.tile([[1.0, 0.0]], (4, 1))
    found = nearest_labels(rows, np.arange(4), 2)
    assert found.shape == (4, 2) and not (found == np.arange(4)[:, None]).any()


def test_two_labels_have_one_neighbor():
    assert nearest_labels(np.eye(2), np.arange(2), 3).tolist() == [[1], [0]]


def test_labels_of_hard_pairs_by_hand():
    """Label 0 has hard pairs in 1 (rank 1, twice), 2 (rank 0) and itself; label 2 has none."""
    table = table_of(np.array([[4, 2, 1], [0, 3, -1], [0, 4, -1], [3, -1, -1], [-1, -1, -1]]))
    labels = np.array([0, 0, 1, 1, 2])
    assert labels_of_hard_pairs(table, labels, 2).tolist() == [[2, 1], [0, 2], [-1, -1]]


@pytest.mark.parametrize("name", ["m_per_class", "class_neighbors"])
def test_options_out_of_range(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1"):
        ClassNeighborBatchSampler(
            24, np.arange(24) // 4, np.zeros((6, 1), np.int64), batch_size=8, **{name: 0}
        )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_size": 7}, "`batch_size` 4 or 8"),
        ({"batch_size": 64}, "fewer than one global batch"),
    ],
)
def test_refusals(options, says):
    with pytest.raises(UserError, match=says):
        ClassNeighborBatchSampler(
            24, np.arange(24) // 4, np.zeros((6, 1), np.int64), **{"class_neighbors": 1, **options}
        )
