"""Laws of topical batches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardpairs.batches import TARGET, RandomBatchSampler, TopicalBatchSampler
from hardpairs.batches.clusters import cluster
from tests.batches.helpers import all_ranks, check_batches, epoch


@given(
    world_size=st.integers(1, 8),
    size=st.integers(1, 4),
    count=st.sampled_from([41, 64, 97, 127]),
    clusters=st.integers(1, 20),
    share=st.floats(0, 1),
    round_robin=st.booleans(),
    seed=st.integers(0, 9),
    number=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_laws(world_size, size, count, clusters, share, round_robin, seed, number):
    rng = np.random.default_rng(seed)
    labels, exclude = (
        rng.integers(-1, clusters, count),
        np.sort(rng.choice(count, 5, replace=False)),
    )
    options = {"p_topical": share, "round_robin": round_robin, "seed": seed, "exclude": exclude}
    batches = epoch(
        all_ranks(
            TopicalBatchSampler, count, labels, world_size=world_size, batch_size=size, **options
        ),
        number,
    )
    check_batches(batches, size * world_size, exclude)
    targets = np.concatenate([rows[roles == TARGET] for rows, roles, _ in batches])
    assert (
        np.sort(targets).tolist() == np.setdiff1d(np.arange(count), exclude).tolist()
    )  # every row once
    one = epoch(
        [TopicalBatchSampler(count, labels, batch_size=size * world_size, **options)], number
    )
    assert all(
        (a[0] == b[0]).all() for a, b in zip(batches, one, strict=True)
    )  # the same for any world size
    if number and count > 2 * size * world_size:
        before = epoch(
            all_ranks(
                TopicalBatchSampler,
                count,
                labels,
                world_size=world_size,
                batch_size=size,
                **options,
            ),
            number - 1,
        )
        assert not all((a[0] == b[0]).all() for a, b in zip(batches, before, strict=True))


@pytest.mark.parametrize(("share", "expected"), [(0, 0), (0.25, 10), (0.5, 20), (1, 40)])
def test_the_share_of_batches_from_one_cluster(share, expected):
    labels = np.arange(400) % 8  # 50 rows each: 5 whole batches of 10
    batches = epoch([TopicalBatchSampler(400, labels, batch_size=10, p_topical=share)])
    whole = [len(set(labels[rows])) == 1 for rows, _, _ in batches]
    assert sum(whole) == expected
    assert share in (0, 1) or not all(whole[:expected])  # not all at the start


def test_small_clusters_are_filled_up_and_rows_of_none_are_never_a_topic():
    labels = np.repeat([0, 1, 2, 3, -1], [6, 6, 6, 6, 56])
    batches = epoch([TopicalBatchSampler(80, labels, batch_size=10, p_topical=0.5)])
    counts = [np.bincount(labels[rows] + 1, minlength=5) for rows, _, _ in batches]
    assert sum(count[1:].max() == 6 for count in counts) == 4


def test_round_robin_gives_each_batch_its_part_of_every_cluster():
    labels = np.repeat(np.arange(4), [40, 40, 80, 240])
    for rows, _, _ in epoch([TopicalBatchSampler(400, labels, batch_size=10, round_robin=True)]):
        assert np.bincount(labels[rows], minlength=4).tolist() == [1, 1, 2, 6]


def test_batches_are_more_alike_than_random_ones():
    rng = np.random.default_rng(1)
    points = np.repeat(rng.normal(size=(8, 16)), 50, axis=0) + rng.normal(size=(400, 16)) / 2
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    means = []
    for sampler in (
        TopicalBatchSampler(400, cluster(points, 8), batch_size=20, p_topical=1),
        RandomBatchSampler(400, batch_size=20),
    ):
        means.append(
            np.mean(
                [
                    (points[rows] @ points[rows].T)[~np.eye(20, dtype=bool)].mean()
                    for rows, _, _ in epoch([sampler])
                ]
            )
        )
    assert means[0] > means[1] + 0.3


def test_a_share_out_of_range():
    with pytest.raises(ValueError, match="`p_topical` must be at least 0 and at most 1"):
        TopicalBatchSampler(20, np.zeros(20, int), batch_size=2, p_topical=1.5)
