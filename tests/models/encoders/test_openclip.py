"""Both halves of an OpenCLIP model."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

from hardpairs.core.errors import UserError
from hardpairs.models.encoders import open_encoders
from hardpairs.models.encoders.base import weights_hash
from hardpairs.models.encoders.openclip import from_encoder, remove_projections
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


def test_features_before_the_projection_give_the_embeddings_after_it():
    vision = CLIPVisionCfg(layers=1, width=64, patch_size=16, image_size=32)
    words = CLIPTextCfg(context_length=8, vocab_size=50, width=24, heads=2, layers=1)
    model = CLIP(16, vision, words).eval()
    bare = copy.deepcopy(model)
    remove_projections(bare, "a small CLIP")
    pixels, tokens = torch.rand(2, 3, 32, 32), torch.randint(50, (2, 8))
    with torch.no_grad():
        image, text = bare.encode_image(pixels), bare.encode_text(tokens)
        assert image.shape == (2, 64) and text.shape == (2, 24)
        torch.testing.assert_close(image @ model.visual.proj, model.encode_image(pixels))
        torch.testing.assert_close(text @ model.text_projection, model.encode_text(tokens))


def test_two_towers_are_not_one_space_and_say_so():
    words = {"model": "miniclip-lstm-cnn", "pretrained": "none", "captions": ["a b"]}
    before, after = (open_encoders(**words, without_projection=bare) for bare in (True, False))
    assert not before.one_space and after.one_space
    assert before.description["model"] != after.description["model"]


def test_a_tower_without_a_projection_of_its_own_is_refused(checkpoint):
    words = {"model": "hardpairs-test", "pretrained": str(checkpoint)}
    with pytest.raises(UserError, match="without_projection") as error:
        open_encoders(**words, without_projection=True)
    assert error.value.code == 2
