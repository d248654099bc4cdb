"""Folders of models: written from a loaded one, kept when they are finished."""

from __future__ import annotations

import json

import pytest
import torch

from hardpairs.catalog.models import build_model, write_folder
from hardpairs.core.errors import UserError
from hardpairs.data.manifest import write_manifest
from hardpairs.models.load import load_encoder
from hardpairs.models.model_folder import CONFIG
from tests.models.test_model_folder import MODEL


def test_a_written_folder_is_the_model(tmp_path):
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / CONFIG).write_text(json.dumps({"model_cfg": MODEL, "preprocess_cfg": {}}))
    encoder = load_encoder(f"local-dir:{tmp_path / 'start'}", None, seed=7)
    write_folder(tmp_path / "model", MODEL, encoder.description["preprocess"], encoder)
    loaded = load_encoder(f"local-dir:{tmp_path / 'model'}", None)
    expected = encoder.model.state_dict()
    assert all(
        torch.equal(value, expected[name]) for name, value in loaded.model.state_dict().items()
    )
    assert loaded.description["preprocess"] == encoder.description["preprocess"]


@pytest.mark.parametrize("name", ["lite1", "ViT-B-32", "ViT-B-33/openai", "ViT-B-32/no-such-tag"])
def test_unknown_names_are_refused(tmp_path, name):
    with pytest.raises(UserError) as error:
        build_model(name, tmp_path / "model", tmp_path)
    assert error.value.code == 2
    assert not (tmp_path / "model").exists()


def test_a_finished_folder_is_kept_and_another_is_not_overwritten(tmp_path):
    write_manifest(tmp_path / "model", {"kind": "model", "name": "lite0-minilm"})
    assert build_model("lite0-minilm", tmp_path / "model", tmp_path)["name"] == "lite0-minilm"
    with pytest.raises(UserError, match="does not hold the model ViT-B-32/openai") as error:
        build_model("ViT-B-32/openai", tmp_path / "model", tmp_path)
    assert error.value.code == 4
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    with pytest.raises(UserError, match="holds other files") as error:
        build_model("lite0-minilm", tmp_path / "mine", tmp_path)
    assert error.value.code == 3
