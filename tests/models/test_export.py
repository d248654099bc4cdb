"""The folder of a model, loaded by OpenCLIP alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import open_clip
import pytest
import torch

from hardpairs.catalog.lite0_minilm import write_model
from hardpairs.core.errors import UserError
from hardpairs.data.images import decode
from hardpairs.models.export import (
    check_exportable,
    export_model,
    model_card,
    read_evaluation,
)
from hardpairs.models.load import Encoder, load_encoder
from hardpairs.models.mteb_model import Model
from tests.catalog.made_model import tower_packages
from tests.helpers import picture
from tests.models.small_clip import NAME, write_checkpoint

STEM = "visual.trunk.conv_stem.weight"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("model"))
    return load_encoder(NAME, str(checkpoint), resize_mode="squash")


def test_openclip_loads_the_same_model(encoder: Encoder, tmp_path: Path) -> None:
    """As CLIP_benchmark loads it; the way images become squares is kept."""
    export_model(encoder, NAME, tmp_path / "clip")
    name = f"local-dir:{tmp_path / 'clip'}"
    model, _, transform = open_clip.create_model_and_transforms(name, pretrained="none")
    tokenizer = open_clip.get_tokenizer(name)
    image = decode(picture(0, 40)).resize((60, 40))
    assert torch.equal(transform(image), encoder.transform(image))
    pixels, tokens = torch.rand(2, 3, 32, 32), tokenizer(["a red cup", "a tree"])
    assert torch.equal(tokens, encoder.tokenizer(["a red cup", "a tree"]))
    with torch.no_grad():
        for half, values in (("encode_image", pixels), ("encode_text", tokens)):
            ours, theirs = (getattr(m.eval(), half)(values) for m in (encoder.model, model))
            assert torch.equal(ours, theirs)
    assert model.logit_scale == encoder.model.logit_scale
    written = sorted(path.name for path in (tmp_path / "clip").iterdir())
    assert written == [
        "README.md",
        "mteb_model.py",
        "open_clip_config.json",
        "open_clip_model.safetensors",
    ]


def test_a_trained_model_of_a_folder_is_a_folder_again(tmp_path: Path) -> None:
    """With the tokenizer, the text tower's configuration and the licenses; nothing is fetched."""
    source, out = tmp_path / "start", tmp_path / "trained"
    write_model(source, tower_packages(tmp_path))
    start = load_encoder(f"local-dir:{source}", None)
    state = {name: value + 0.01 for name, value in start.model.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "epoch_1.pt")
    trained = load_encoder(f"local-dir:{source}", str(tmp_path / "epoch_1.pt"))
    export_model(trained, f"local-dir:{source}", out)
    with pytest.raises(UserError, match="written over") as error:
        export_model(trained, f"local-dir:{source}", source)
    assert error.value.code == 2 and (out / "licenses").is_dir()
    shutil.rmtree(source)
    again, mteb = load_encoder(f"local-dir:{out}", None), Model(str(out), device="cpu")
    tokens = trained.tokenizer(["a big dog", "a cat"])
    assert torch.equal(tokens, mteb.tokenizer(["a big dog", "a cat"]))
    with torch.no_grad():
        expected = trained.model.encode_text(tokens)
        for model in (again.model, mteb.model):
            assert torch.equal(model.encode_text(tokens), expected)
            assert torch.equal(model.visual.trunk.conv_stem.weight, state[STEM])


def test_the_card(encoder: Encoder) -> None:
    bare = model_card(encoder.description, "clip")
    assert bare.startswith("---\nlibrary_name: open_clip\n") and "license" not in bare
    assert 'create_model_and_transforms("local-dir:clip")' in bare and "## Retrieval" not in bare
    assert encoder.description["weights"] in bare
    evaluation = {
        "images": 40,
        "texts": 200,
        "data": "/home/someone/test.csv",
        "image_to_text_R@1": 0.4567,
        "image_to_text_MRR": 0.5,
    }
    card = model_card(encoder.description, "clip", license_name="mit", evaluation=evaluation)
    assert "license: mit\n---" in card and "| image to text R@1 | 0.4567 |" in card
    assert "40 images and 200 captions of `test.csv`" in card and "MRR" not in card
    assert "/home" not in card


def test_numbers_of_other_weights_are_refused(encoder: Encoder, tmp_path: Path) -> None:
    weights = encoder.description["weights"]
    with pytest.raises(UserError, match="no evaluation.json") as error:
        read_evaluation(tmp_path, weights)
    assert error.value.code == 3
    (tmp_path / "evaluation.json").write_text(json.dumps({"weights": weights, "images": 3}))
    assert read_evaluation(tmp_path, weights)["images"] == 3
    with pytest.raises(UserError, match="other weights") as error:
        read_evaluation(tmp_path, "sha256:0")
    assert error.value.code == 4


@pytest.mark.parametrize(
    "name", ["hardpairs-test", "miniclip-lstm", "no-such-model", "roberta-ViT-B-32"]
)
def test_models_that_openclip_alone_cannot_make(name: str) -> None:
    with pytest.raises(UserError) as error:
        check_exportable(name)
    assert error.value.code == 2
