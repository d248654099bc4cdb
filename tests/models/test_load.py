"""Loading weights leaves out what takes long, and gives the same model."""

from __future__ import annotations

import open_clip
import pytest
import torch

from hardpairs.models.checkpoint import checkpoint_vocabulary, checkpoint_weights
from hardpairs.models.create import create_model_and_transforms
from hardpairs.models.load import load_encoder
from hardpairs.models.model_config import register_configs

WORDS = ["a", "dog"]
TEXT = {"layers": 1, "width": 64, "heads": 2}
SMALL = {
    "ViT-B-32": {"vision_cfg": {"layers": 1, "width": 64}, "text_cfg": TEXT},
    "RN50": {"vision_cfg": {"layers": [1, 1, 1, 1], "width": 8}, "text_cfg": TEXT},
    "convnext_base": {"vision_cfg": {"timm_model_name": "convnext_atto"}, "text_cfg": TEXT},
}
"""One of each kind of picture tower, and how it is made small."""


@pytest.fixture(params=["hardpairs-test", "miniclip-test", *SMALL])
def name(request, monkeypatch):
    register_configs()
    if request.param in SMALL:
        config = open_clip.get_model_config(request.param)
        for half, changes in SMALL[request.param].items():
            config[half] |= changes
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, request.param, config)
    return request.param


def made(name):
    """A model with random weights, as a run makes it."""
    torch.manual_seed(7)
    return create_model_and_transforms(name, vocabulary=WORDS)[0].eval()


def test_a_loaded_model_is_the_one_that_was_stored(name, tmp_path):
    """Also in what no file holds: its outputs are those of the model itself."""
    model = made(name)
    torch.save({"state_dict": model.state_dict(), "vocabulary": WORDS}, tmp_path / "model.pt")
    loaded = load_encoder(name, str(tmp_path / "model.pt"), seed=3)
    expected = model.state_dict()
    assert expected.keys() == loaded.model.state_dict().keys()
    assert all(
        torch.equal(value, expected[key]) for key, value in loaded.model.state_dict().items()
    )
    size = model.visual.image_size
    pictures, tokens = (
        torch.rand(2, 3, *(size if isinstance(size, tuple) else (size, size))),
        loaded.tokenizer(["a dog", "a"]),
    )
    with torch.no_grad():
        assert torch.equal(loaded.model.encode_image(pictures), model.encode_image(pictures))
        assert torch.equal(loaded.model.encode_text(tokens), model.encode_text(tokens))


def test_random_numbers_are_drawn_where_nothing_is_loaded():
    first, second = (
        load_encoder("ViT-B-32", None, seed=seed).model.token_embedding.weight for seed in (1, 2)
    )
    assert not torch.equal(first, second) and first.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("new_format", [True, False])
def test_what_was_loaded_stays_when_the_file_is_written_over(tmp_path, new_format):
    """Only words and the like are read from a mapped file; one in torch's old format cannot be mapped."""
    path, numbers = tmp_path / "model.pt", torch.arange(1 << 20)
    torch.save(
        {"state_dict": {"x": numbers}, "vocabulary": WORDS},
        path,
        _use_new_zipfile_serialization=new_format,
    )
    weights = checkpoint_weights(path)
    assert checkpoint_vocabulary(path) == WORDS
    path.write_bytes(b"")
    assert torch.equal(weights["x"], numbers)
