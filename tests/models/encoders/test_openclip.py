"""Both halves of an OpenCLIP model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hardpairs.core.errors import UserError
from hardpairs.models.encoders import open_encoders
from hardpairs.models.encoders.base import weights_hash
from hardpairs.models.encoders.openclip import from_encoder
from hardpairs.models.load import load_encoder


def test_seeded_random_weights_are_the_same_each_time():
    options = {"model": "hardpairs-test", "pretrained": "none", "captions": ["a b"]}
    first, second, other = (open_encoders(**options, seed=seed) for seed in (1, 1, 2))
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(first.image.encode(x), second.image.encode(x)) and not torch.equal(
        first.image.encode(x), other.image.encode(x)
    )
    assert first.description["weights"] == "random, seed 1"


def test_weights_are_named():
    with pytest.raises(UserError, match="needs its weights") as error:
        open_encoders(model="hardpairs-test")
    assert error.value.code == 2


def test_both_halves_are_those_of_the_model(checkpoint):
    encoder = load_encoder("hardpairs-test", str(checkpoint))
    both = from_encoder(encoder, "cpu")
    assert both.one_space and both.description["weights"].startswith("sha256:")
    assert both.text.description["preprocess"] == {"tokenizer": "hardpairs-test"}
    tokens = both.text.prepare(["picture number 3", "a zebra"])
    with torch.no_grad():
        assert torch.equal(both.text.encode(tokens), encoder.model.encode_text(tokens))


def test_a_tag_is_described_with_the_hash_of_its_weights(checkpoint):
    encoder = load_encoder("hardpairs-test", str(checkpoint))
    tagged = replace(encoder, description={**encoder.description, "weights": "tag:x"})
    weights = from_encoder(tagged, "cpu").description["weights"]
    assert weights == f"tag:x {weights_hash(encoder.model)}"
