"""Pools that targets share: which rows they hold, and what a search in them finds."""

import numpy as np
import pytest

from hardpairs.mining import hard_pairs
from hardpairs.mining.options import MiningOptions
from hardpairs.mining.plan import make_plan
from hardpairs.mining.pools import Pools
from tests.mining.reference import reference
from tests.mining.searches import assert_same, pool_of_row, search, themed


def pools(count, exclude=None, **options):
    made = Pools(count, exclude, MiningOptions(**options))
    return [made[number] for number in range(len(made))]


def test_targets_in_order_share_a_pool_of_usable_rows():
    exclude = np.array([0, 7])
    parts = pools(30, exclude, approx=9, approx_targets=10, seed=5)
    assert [len(part.targets) for part in parts] == [10, 10, 8]
    targets = np.concatenate([part.targets for part in parts])
    assert targets.tolist() == [row for row in range(30) if row not in exclude]
    for part in parts:
        assert len(np.unique(part.candidates)) == 9 and not np.isin(part.candidates, exclude).any()
    assert len({tuple(part.candidates) for part in parts}) == 3


def test_pools_follow_from_seed_and_number():
    first, again = (pools(50, approx=9, approx_targets=10, seed=5) for _ in range(2))
    other = pools(50, approx=9, approx_targets=10, seed=6)
    for one, same, different in zip(first, again, other, strict=True):
        assert (one.candidates == same.candidates).all()
        assert (one.candidates != different.candidates).any()
    (shared,) = pools(50, approx=9, seed=5)
    assert (shared.candidates == first[0].candidates).all() and len(shared.targets) == 50


@pytest.mark.parametrize("options", [{}, {"approx": 50}, {"approx": 60, "approx_targets": 3}])
def test_one_pool_of_all_rows(options):
    (part,) = pools(50, **options)
    assert part.targets.tolist() == part.candidates.tolist() == [*range(50)]


def test_no_rows():
    (part,) = pools(3, np.arange(3), approx=2, approx_targets=1)
    assert len(part.targets) == len(part.candidates) == 0


CASES = {
    "each target": {"approx": 40, "approx_targets": 1, "similarity_floor": 0.1},
    "few targets": {"approx": 25, "approx_targets": 7, "min_score": 0.2},
    "many targets": {"approx": 90, "approx_targets": 70, "seed": 4, "range_min": 2},
    "captions": {"approx": 60, "approx_targets": 33, "method": "text", "duplicate_threshold": 0.7},
}


@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_reference(case):
    """Lists, scores and the counts of every filter."""
    image, text = themed(150, 16), themed(150, 16, 1)
    groups = np.arange(150).reshape(-1, 1) // 3
    pool = pool_of_row(150, MiningOptions(**CASES[case]))
    expected = reference(image, text, 6, groups=groups, pool=pool, **CASES[case])
    assert_same(search(image, text, 6, groups=groups, **CASES[case]), expected)


def test_rows_of_another_pool_are_in_lists():
    """One pool of 30 rows holds all hard pairs; new ones for each target hold nearly every row."""
    image, text = themed(200, 16), themed(200, 16, 1)
    shared, each = (
        hard_pairs(image, text, top_k=5, approx=30, approx_targets=targets)[0]
        for targets in (None, 1)
    )
    assert len(np.unique(shared[shared >= 0])) <= 30
    assert len(np.unique(each[each >= 0])) > 150


def test_little_memory_changes_nothing(monkeypatch):
    image, text = themed(300, 16), themed(300, 16, 1)
    options = {"approx": 120, "approx_targets": 110}
    expected = search(image, text, 6, **options)

    def small(**sizes):
        plan = make_plan(**sizes, tile=16, product_block=16)
        return type(plan)(**{**vars(plan), "list_block": 48, "mapped": True})

    monkeypatch.setattr("hardpairs.mining.api.make_plan", lambda **sizes: small(**sizes))
    result = search(image, text, 6, **options)
    assert_same(result, (expected.indices, expected.scores, expected.kept, expected.removed))
