"""The bricks of makers that order a whole epoch."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hardpairs.batches import RANDOM, TARGET
from hardpairs.batches.ordered import OrderedBatchSampler, compact, dealt, sorted_by


@given(count=st.integers(0, 40), piles=st.integers(1, 12), more=st.integers(0, 3))
@settings(deadline=None)
def test_dealt_like_cards(count, piles, more):
    grid = dealt(np.arange(count), piles, -(-count // piles) + more)
    assert [[item for item in pile if item >= 0] for pile in grid.tolist()] == [
        list(range(pile, count, piles)) for pile in range(piles)
    ]


@given(labels=st.lists(st.integers(-3, 3)))
@settings(deadline=None)
def test_sorted_by_keeps_labels_together(labels):
    order = sorted_by(compact(np.array(labels, np.int64)), np.random.default_rng(0))
    found = [labels[place] for place in order]
    assert sorted(order.tolist()) == list(range(len(labels)))
    assert sum(a != b for a, b in pairwise(found)) == max(len(set(labels)) - 1, 0)


class Fixed(OrderedBatchSampler):
    def epoch_order(self, rng):
        return np.array([0, 1, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9])


def test_empty_places_and_repeats_get_random_rows():
    plan = Fixed(12, batch_size=4).plan(0)
    assert plan.rows[:2].tolist() == [0, 1] and plan.roles.tolist() == [
        TARGET,
        TARGET,
        RANDOM,
        RANDOM,
    ]
    assert len(set(plan.rows)) == 4 and (Fixed(12, batch_size=4).plan(1).roles == TARGET).all()
