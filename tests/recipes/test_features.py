import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.recipes.features import Fold, families


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
