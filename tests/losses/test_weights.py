"""Weights of negatives: normalization, caps and ranges."""

import pytest
import torch

from hardpairs.losses import SANWLoss
from tests.losses.helpers import features, weights_of


def test_normalized_rows_have_mean_one_and_stay_below_the_cap():
    x, y = features()
    by_row, by_column = weights_of(SANWLoss("sigmoid"), x, y)
    assert ((by_row.sum(1) - 1) / 11).numpy() == pytest.approx(1)
    torch.testing.assert_close(by_column, by_row.T, rtol=1e-12, atol=0)
    capped, _ = weights_of(SANWLoss("sigmoid", max_weight=1.2), x, y)
    assert by_row.max() > 1.2 and capped.max() <= 1.2 + 1e-12


def test_weights_far_below_any_float_still_normalise():
    x, y = features()
    by_row, _ = weights_of(SANWLoss("exp", lam=1e5, delta=-1.0, normalize=True), x, y)
    assert ((by_row.sum(1) - 1) / 11).numpy() == pytest.approx(1)


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": 2},
        {"beta": -1},
        {"lam": -1},
        {"m1": 0.9, "m2": 0.1},
        {"gamma": 0},
        {"floor": 0},
        {"weighting": "high"},
    ],
)
def test_impossible_values(options):
    with pytest.raises(ValueError):
        SANWLoss(**options)
