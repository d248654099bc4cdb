"""Folders of models: written from a loaded one, kept when they are finished."""

from __future__ import annotations

import json

import open_clip
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

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


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Return the snapshot of a repository in a cache of Hugging Face's library, which is offline."""
    cache = tmp_path / "hub"
    snapshot = cache / "models--acme--small-clip/snapshots/abc"
    snapshot.mkdir(parents=True)
    (cache / "models--acme--small-clip/refs").mkdir()
    (cache / "models--acme--small-clip/refs/main").write_text("abc")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return snapshot


def test_a_repository_becomes_a_folder(tmp_path, repository):
    (repository / CONFIG).write_text(json.dumps({"model_cfg": MODEL, "preprocess_cfg": {}}))
    torch.manual_seed(3)
    state = open_clip.create_model(f"local-dir:{repository}").state_dict()
    save_file(state, repository / "open_clip_model.safetensors")
    for name in ("open_clip_pytorch_model.bin", "README.md"):
        (repository / name).write_text("not taken")
    manifest = build_model("hf-hub:acme/small-clip", tmp_path / "model", tmp_path)
    assert [*manifest["files"]] == [CONFIG, "open_clip_model.safetensors"]
    loaded = load_encoder(f"local-dir:{tmp_path / 'model'}", None).model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.items())


def test_a_repository_without_a_model_of_openclip_is_refused(tmp_path, repository):
    for name, says in (
        ("acme/small-clip", "holds no model of OpenCLIP"),
        ("acme/no-clip", "cannot be had"),
        ("acme/small/clip", "cannot be had"),
    ):
        with pytest.raises(UserError, match=says) as error:
            build_model(f"hf-hub:{name}", tmp_path / "model", tmp_path)
        assert error.value.code == 3 and error.value.where == f"hf-hub:{name}"
    assert not (tmp_path / "model").exists()


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
