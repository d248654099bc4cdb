"""Bandpass weights by name: the defaults against their formula."""

from __future__ import annotations

import math

import pytest

from hardpairs.losses import LossContext, build_loss
from hardpairs.losses.sanw_bandpass import SANWBandpassLoss
from tests.losses.helpers import SCALE, features, naive


def band(a: float) -> float:
    lower, upper = (1 / (1 + math.exp(-(a - edge) / 0.05)) for edge in (0.3, 0.8))
    return max(1e-3, lower * (1 - upper))


def test_it_is_its_formula():
    x, y = features(30, 2)
    config = SANWBandpassLoss.Config(sanw_normalize=False)
    loss = build_loss("sanw_bandpass", config, LossContext())
    expected = naive(x, y, SCALE, lambda i, t: band((i + t) / 2))
    assert loss(x, y, SCALE).item() == pytest.approx(expected, rel=1e-12)


def test_rows_are_normalized_by_default():
    built = SANWBandpassLoss.from_config(SANWBandpassLoss.Config(), LossContext())
    assert built.weights.normalize and (built.weights.m1, built.weights.m2) == (0.3, 0.8)


def test_the_band_has_a_lower_and_an_upper_edge():
    with pytest.raises(ValueError, match="`sanw_m1` must be below `sanw_m2`"):
        SANWBandpassLoss.Config(sanw_m1=0.8)
