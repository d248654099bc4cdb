import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.recipes.features import Fold, families, part_of_families


def test_families_stay_together_and_every_row_is_in_one_part(features):
    for seed in range(3):
        fold = Fold.of(features, seed)
        parts = (fold.train, fold.val, fold.test)
        assert sorted(np.concatenate(parts)) == features.rows.tolist()
        family = dict(zip(features.rows.tolist(), features.families.tolist(), strict=True))
        sets = [{family[row] for row in part.tolist()} for part in parts]
        assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])


def test_families_are_the_connected_components():
    rng = np.random.default_rng(0)
    positives = rng.integers(0, 30, (40, 2))
    found = families(positives)
    reached = np.eye(40, dtype=bool)
    shares = (positives[:, None] == positives[None]).any(-1)
    for _ in range(40):
        reached = (reached.astype(int) @ shares.astype(int)) > 0
    assert np.array_equal(found[:, None] == found[None], reached)


def test_too_few_rows_are_refused(features):
    from dataclasses import replace

    few = replace(features, rows=features.rows[:3], families=features.families[:3])
    with pytest.raises(UserError, match="too few"):
        Fold.of(few, 0)


@pytest.mark.parametrize("size", [1, 4, 12])
def test_sizes_of_families_do_not_change_the_shares(size):
    found = np.arange(3000) // size
    parts = part_of_families(found, seed=1)
    assert all(len(set(parts[found == family])) == 1 for family in range(0, found.max(), 17))
    assert np.bincount(parts) / 3000 == pytest.approx([0.7, 0.15, 0.15], abs=0.01)
    assert (part_of_families(found, seed=2) != parts).any()
