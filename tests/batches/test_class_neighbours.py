"""Laws of batches of a class and its nearest classes, and where the nearest come from."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hardpairs.batches import HARD_PAIR, TARGET
from hardpairs.batches.class_neighbours import (
    ClassNeighbourBatchSampler,
    classes_of_hard_pairs,
    nearest_classes,
)
from hardpairs.core.errors import UserError
from tests.batches.helpers import all_ranks, check_batches, epoch, table_of


@given(
    world_size=st.sampled_from([1, 2, 4]),
    m=st.integers(1, 3),
    k=st.integers(1, 3),
    families=st.integers(1, 2),
    classes=st.integers(2, 12),
    seed=st.integers(0, 9),
    number=st.integers(0, 2),
)
@settings(max_examples=60, deadline=None)
def test_laws(world_size, m, k, families, classes, seed, number):
    rng = np.random.default_rng(seed)
    count = 120
    labels, exclude = (
        5 * rng.integers(0, classes, count),
        np.sort(rng.choice(count, 5, replace=False)),
    )
    names = np.unique(labels)
    neighbours = np.array(
        [rng.permutation(np.delete(np.arange(len(names)), c))[:k] for c in range(len(names))],
        np.int64,
    )
    if neighbours.shape[1] < k:
        neighbours = np.pad(neighbours, ((0, 0), (0, k - neighbours.shape[1])), constant_values=-1)
    size = families * m * (1 + k)
    kept = np.setdiff1d(np.arange(count), exclude)
    assume(size * world_size <= len(kept))
    options = {"m_per_class": m, "class_neighbours": k, "seed": seed, "exclude": exclude}
    batches = epoch(
        all_ranks(
            ClassNeighbourBatchSampler,
            count,
            labels,
            neighbours,
            world_size=world_size,
            batch_size=size,
            **options,
        ),
        number,
    )
    check_batches(batches, size * world_size, exclude)
    one = epoch(
        [
            ClassNeighbourBatchSampler(
                count, labels, neighbours, batch_size=size * world_size, **options
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
            for place in range(k):
                mined = labels[family[1 + place][role[1 + place] == HARD_PAIR]]
                if len(mined) and own:
                    (lead,) = own
                    assert set(mined.tolist()) == {
                        names[neighbours[np.searchsorted(names, lead), place]]
                    }
    assert leads == set(
        kept.tolist()
    )  # every row leads once, or in the places that are filled again twice


def test_an_epoch_is_in_another_order_than_the_one_before():
    labels, neighbours = np.arange(24) // 4, np.roll(np.arange(6), 1)[:, None]
    sampler = ClassNeighbourBatchSampler(24, labels, neighbours, batch_size=8, class_neighbours=1)
    first, second = (
        np.concatenate([rows for rows, _, _ in epoch([sampler], number)]) for number in (0, 1)
    )
    assert (first != second).any()


def test_the_neighbour_is_there():
    """With rows enough in every class, no place of a neighbour is filled at random."""
    labels, neighbours = np.arange(24) // 4, np.roll(np.arange(6), 1)[:, None]
    batches = epoch(
        [ClassNeighbourBatchSampler(24, labels, neighbours, batch_size=4, class_neighbours=1)], 0
    )
    assert len(batches) == 12
    for rows, roles, _ in batches:
        assert roles.tolist() == [TARGET, TARGET, HARD_PAIR, HARD_PAIR]
        lead, neighbour = labels[rows[:2]], labels[rows[2:]]
        assert (
            lead[0] == lead[1]
            and (neighbour == (lead - 1) % 6).all()
            and len(set(rows.tolist())) == 4
        )


def test_nearest_classes_are_those_of_the_means():
    rng = np.random.default_rng(0)
    rows, classes = rng.normal(size=(60, 8)), np.repeat(np.arange(12), 5)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    means = np.array([unit[classes == c].mean(axis=0) for c in range(12)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    naive = [
        [int(o) for o in np.argsort(-(means @ means[c]), kind="stable") if o != c][:3]
        for c in range(12)
    ]
    assert nearest_classes(rows, classes, 3).tolist() == naive


def test_equal_classes_are_not_their_own_neighbours():
    rows = np.tile([[1.0, 0.0]], (4, 1))
    found = nearest_classes(rows, np.arange(4), 2)
    assert found.shape == (4, 2) and not (found == np.arange(4)[:, None]).any()


def test_two_classes_have_one_neighbour():
    assert nearest_classes(np.eye(2), np.arange(2), 3).tolist() == [[1], [0]]


def test_classes_of_hard_pairs_by_hand():
    """Class 0 (rows 0, 1) has hard pairs in 1 (rank 1, twice), 2 (rank 0) and itself; class 2 (row 4) has none."""
    table = table_of(np.array([[4, 2, 1], [0, 3, -1], [0, 4, -1], [3, -1, -1], [-1, -1, -1]]))
    classes = np.array([0, 0, 1, 1, 2])
    assert classes_of_hard_pairs(table, classes, 2).tolist() == [[2, 1], [0, 2], [-1, -1]]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_size": 7}, "--batch-size 4 or 8"),
        ({"batch_size": 8, "m_per_class": 0}, "at least 1"),
        ({"batch_size": 8, "class_neighbours": 0}, "at least 1"),
        ({"batch_size": 64}, "fewer than one global batch"),
    ],
)
def test_refusals(options, says):
    with pytest.raises(UserError, match=says):
        ClassNeighbourBatchSampler(
            24, np.arange(24) // 4, np.zeros((6, 1), np.int64), **{"class_neighbours": 1, **options}
        )
