"""Heads of a base as a model's projections."""

import copy
from types import SimpleNamespace

import pytest
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch.nn.functional import normalize

from hardpairs.core.errors import UserError
from hardpairs.data.embeddings import Embeddings
from hardpairs.models.encoders.openclip import remove_projections
from hardpairs.recipes.heads import Heads
from hardpairs.recipes.start_model import are_features_of, put_heads


def test_the_model_embeds_as_the_heads_do():
    vision = CLIPVisionCfg(layers=1, width=64, patch_size=16, image_size=32)
    words = CLIPTextCfg(context_length=8, vocab_size=50, width=24, heads=2, layers=1)
    model = CLIP(16, vision, words).eval()
    towers = copy.deepcopy(model)
    remove_projections(towers, "a small CLIP")
    pixels, tokens = torch.rand(2, 3, 32, 32), torch.randint(50, (2, 8))
    heads = Heads(64, 24, 16, seed=3)
    heads.logit_scale.data.fill_(1.5)

    put_heads(model, heads, "a small CLIP")

    with torch.no_grad():
        features = towers.encode_image(pixels), towers.encode_text(tokens)
        expected = heads(*(normalize(side, dim=-1) for side in features))
        image, text, scale = model(pixels, tokens)
    torch.testing.assert_close((image, text, scale), expected)


@pytest.mark.parametrize(
    "projection", [torch.nn.Linear(4, 3), torch.nn.Linear(5, 3, bias=False), torch.nn.Identity()]
)
def test_a_projection_that_is_no_such_map_is_refused(projection):
    tower = torch.nn.Module()
    tower.head = projection
    with pytest.raises(UserError, match="do not fit") as error:
        put_heads(SimpleNamespace(visual=tower, text=tower), Heads(4, 4, 3), "RN50")
    assert error.value.code == 2


@pytest.mark.parametrize(
    ("model", "weights", "expected"),
    [
        ("A without projection + A without projection", "sha256:1 + sha256:1", True),
        ("A without projection + A without projection", "sha256:1 + sha256:2", False),
        ("A + A", "sha256:1 + sha256:1", False),
    ],
)
def test_features_are_of_a_model_by_their_manifest(model, weights, expected):
    embeddings = Embeddings(None, None, None, 0, {"model": model, "weights": weights})
    assert are_features_of(embeddings, "sha256:1") is expected
