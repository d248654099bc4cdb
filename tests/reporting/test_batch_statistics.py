"""Numbers of an epoch's batches against plain loops and hand-worked cases."""

from types import SimpleNamespace

import numpy as np
import pytest

from hardpairs.batches import HardPairBatchSampler, RandomBatchSampler
from hardpairs.reporting.batch_statistics import batch_similarities, occurrences, similarities
from tests.batches.helpers import random_table


def test_counts_of_an_epoch_against_a_loop():
    sampler = HardPairBatchSampler(
        41, random_table(41, 5), batch_size=6, accumulate=2, exclude=np.array([3])
    )
    found = occurrences(sampler, 1)
    counts, targets = [0] * 41, [0] * 41
    for number in range(len(sampler)):
        plan = sampler.plan(number, 1)
        for row, role in zip(plan.rows, plan.roles, strict=True):
            counts[row] += 1
            targets[row] += role == 0
    assert found.in_any_role == {
        times: counts.count(times) - (times == 0)
        for times in sorted(set(counts))
        if counts.count(times) - (times == 0)
    }
    assert (
        found.as_target == {1: 38, 2: 2} == {times: targets.count(times) for times in (1, 2)}
        and found.left_out == 1
    )
    assert sum(found.roles.values()) == 12 * sampler.steps and found.roles["targets"] == 42


def test_similarity_and_collisions_by_hand():
    rows = np.array([0, 2, 3])
    image = np.array([[1, 0], [0, 2], [0, 1]], np.float32)
    text = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    embeddings = SimpleNamespace(image=image, text=text, rows=rows)
    # cosines: (0,2) (0 + 1)/2; (0,3) 0; (2,3) (1 + 0)/2; row 1 has no embedding
    assert batch_similarities(embeddings, np.array([3, 1, 0, 2])) == pytest.approx((1 / 3, 0.5))
    assert np.isnan(batch_similarities(embeddings, np.array([1, 0]))).all()
    sampler = RandomBatchSampler(4, batch_size=4)
    group_ids = np.array([[0, 5], [0, 6], [1, 5], [2, 7]])
    found = similarities(sampler, 0, group_ids, embeddings)
    assert (found.mean, found.nearest) == pytest.approx((1 / 3, 0.5)) and (
        found.collisions,
        found.with_collision,
    ) == (2, 1)
    assert similarities(sampler, 0, group_ids, None).mean is None
