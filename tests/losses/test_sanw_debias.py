"""Debiasing weights by name: the defaults, and both forms against their formula."""

from __future__ import annotations

import math

import pytest

from hardpairs.losses import LossContext, build_loss
from hardpairs.losses.sanw_debias import SANWDebiasLoss
from tests.losses.helpers import SCALE, features, naive

FORMS = {
    "exp": lambda a: math.exp(-4 * max(a - 0.6, 0)),
    "sigmoid": lambda a: 1 - 1 / (1 + math.exp(-4 * (a - 0.6))),
}


@pytest.mark.parametrize("form", FORMS)
def test_both_forms_are_their_formula(form):
    x, y = features(30, 2)
    config = SANWDebiasLoss.Config(sanw_debias=form, sanw_normalize=False, sanw_alpha=0.3)
    expected = naive(x, y, SCALE, lambda i, t: FORMS[form](0.3 * t + 0.7 * i))
    loss = build_loss("sanw_debias", config, LossContext())
    assert loss(x, y, SCALE).item() == pytest.approx(expected, rel=1e-12)
    assert expected != pytest.approx(naive(x, y, SCALE, lambda i, t: 1), rel=1e-3)


def test_exp_alone_is_not_normalized_by_default():
    built = {
        form: SANWDebiasLoss.from_config(SANWDebiasLoss.Config(sanw_debias=form), LossContext())
        for form in FORMS
    }
    assert not built["exp"].weights.normalize and built["sigmoid"].weights.normalize
