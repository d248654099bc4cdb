"""Constants of a model and of the loss."""

from __future__ import annotations

import pytest

from hardpairs.core.errors import UserError
from hardpairs.planning import measure_model


def test_the_loss_has_two_constants(monkeypatch):
    monkeypatch.setattr(measure_model, "LOSS_WIDTHS", (8, 64))
    rates = measure_model.measure_loss(batch=64, repeats=1)
    assert rates.pair >= 0 and rates.component >= 0 and rates.pair + rates.component > 0


def test_an_unknown_model_is_refused():
    with pytest.raises(UserError, match="ViT-B-23"):
        measure_model.measure_encoder("ViT-B-23")


def test_a_model_is_measured():
    rates = measure_model.measure_encoder("hardpairs-test", batch=2, repeats=1)
    assert rates.embedding > 0 and rates.training > 0 and rates.parameters > 0
    assert rates.image_width == rates.text_width > 0
    assert rates.embedding_bytes >= 0 and rates.training_bytes >= 0
