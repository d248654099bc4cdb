"""``local-dir:FOLDER`` is a model with its weights in every command, and a run's checkpoint of it counts."""

from __future__ import annotations

import json
import shutil

import open_clip
import pytest
import torch

from hardpairs.cli.embed import main as embed
from hardpairs.cli.evaluate import main as evaluate
from hardpairs.core.errors import UserError
from hardpairs.data.embeddings import open_embeddings
from hardpairs.models.create import create_model_and_transforms
from hardpairs.models.load import load_encoder
from hardpairs.models.model_config import make_tokenizer, model_config
from hardpairs.models.model_folder import CONFIG, absolute_name, folder_weights, needs_weights
from hardpairs.photos.model import ModelName
from tests.helpers import in_process
from tests.training.test_trainer import COMMA, SAME_PIXELS, checkpoint, train

MODEL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 12, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    config = {"model_cfg": MODEL, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / CONFIG).write_text(json.dumps(config))
    torch.manual_seed(5)
    state = open_clip.create_model(f"local-dir:{folder}").state_dict()
    torch.save(state, folder / "open_clip_pytorch_model.bin")
    return folder


@pytest.fixture
def model(folder):
    return f"local-dir:{folder}"


def test_the_weights_and_the_preprocessing_are_the_folders(folder, model):
    encoder = load_encoder(model, None)
    stored = torch.load(folder / "open_clip_pytorch_model.bin", weights_only=True)
    loaded = encoder.model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in stored.items())
    assert encoder.description["preprocess"]["mean"] == [0.5] * 3
    assert encoder.description["weights"].startswith("sha256:")


def test_embedding_and_training_need_no_further_flag_and_a_checkpoint_is_not_passed_over(
    folder, model, table, tmp_path
):
    """OpenCLIP ignores --pretrained beside local-dir:."""
    data = ("--csv", table, "--csv-separator", ",", "--workers", 0, "--model", model)
    done = in_process(embed, *data, "--out", tmp_path / "start")
    assert done.returncode == 0, done.stderr
    flags = ("--train-data", str(table), *COMMA, "--batching", "random", "--batch-size", "20")
    trained = train(
        tmp_path,
        "run",
        *(*flags, "--model", model, "--lr", "0.01", "--max-steps", "2", *SAME_PIXELS),
    )
    assert trained.returncode == 0, trained.stderr
    start = torch.load(folder / "open_clip_pytorch_model.bin", weights_only=True)
    after = checkpoint(tmp_path, "run", 1)["state_dict"]
    assert (after["visual.conv1.weight"] - start["visual.conv1.weight"]).abs().max() < 0.1
    file = next(tmp_path.rglob("epoch_1.pt"))
    done = in_process(embed, *data, "--pretrained", file, "--out", tmp_path / "end")
    assert done.returncode == 0, done.stderr
    before, now = (open_embeddings(tmp_path / name).image for name in ("start", "end"))
    assert abs(before - now).max() > 1e-3
    loaded = load_encoder(model, str(file)).model.state_dict()
    assert torch.equal(loaded["visual.conv1.weight"], after["visual.conv1.weight"])


def test_evaluating_takes_the_folders_weights(model, table, tmp_path):
    done = in_process(
        evaluate,
        *("--data", table, "--csv-separator", ",", "--model", model, "--out", tmp_path / "results"),
    )
    assert done.returncode == 0, done.stderr


def test_a_photo_index_takes_the_folders_weights(folder, model):
    name = ModelName.choose(model, None, None)
    assert name.pretrained == str(folder / "open_clip_pytorch_model.bin")


def test_random_weights_of_a_folder_with_weights_are_refused(model, table, tmp_path):
    done = in_process(
        embed,
        *("--csv", table, "--csv-separator", ",", "--model", model, "--pretrained", "none"),
        *("--out", tmp_path / "e"),
    )
    assert done.returncode == 2 and "holds its own" in done.stderr


@pytest.mark.parametrize("names", [("model.safetensors", "x.bin"), ("x.bin", "y.pth")])
def test_weights_are_found_in_the_order_of_openclip(tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    assert folder_weights(f"local-dir:{tmp_path}") == str(tmp_path / names[0])
    assert folder_weights("ViT-B-32") is None


def test_a_folders_name_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_name("local-dir:model") == f"local-dir:{tmp_path / 'model'}"
    assert absolute_name("ViT-B-32") == "ViT-B-32"


def test_safetensors_are_a_checkpoint(folder, model, tmp_path):
    from safetensors.torch import save_file

    state = torch.load(folder / "open_clip_pytorch_model.bin", weights_only=True)
    state["logit_scale"] = torch.tensor(1.5)
    save_file(state, tmp_path / "other.safetensors")
    loaded = load_encoder(model, str(tmp_path / "other.safetensors")).model
    assert loaded.logit_scale.item() == 1.5
    (tmp_path / "torn.safetensors").write_bytes(b"\x08")
    with pytest.raises(UserError, match="not whole, safe weights") as error:
        load_encoder(model, str(tmp_path / "torn.safetensors"))
    assert error.value.code == 4


def test_folders_without_a_model_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match="no such folder") as error:
        model_config(f"local-dir:{tmp_path / 'none'}")
    assert error.value.code == 2
    for content, says in (
        (None, "has no open_clip_config"),
        ("{", "model_cfg"),
        ("{}", "model_cfg"),
    ):
        if content is not None:
            (tmp_path / CONFIG).write_text(content)
        with pytest.raises(UserError, match=says) as error:
            model_config(f"local-dir:{tmp_path}")
        assert error.value.code == 3


def test_an_openclip_that_does_not_know_folders_is_named(model, monkeypatch):
    monkeypatch.delattr(open_clip.factory, "LOCAL_DIR_PREFIX")
    with pytest.raises(UserError, match="does not know local-dir") as error:
        create_model_and_transforms(model)
    assert error.value.code == 2


def test_a_tokenizer_that_cannot_be_made_is_named(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "model")
    config = {**MODEL, "text_cfg": {**MODEL["text_cfg"], "hf_tokenizer_name": "a/b"}}
    (tmp_path / "model" / CONFIG).write_text(json.dumps({"model_cfg": config}))
    with pytest.raises(UserError, match="lacks the files of its tokenizer") as error:
        make_tokenizer(f"local-dir:{tmp_path / 'model'}")
    assert error.value.code == 3
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package transformers") as error:
        make_tokenizer(f"local-dir:{tmp_path / 'model'}")
    assert error.value.code == 2


def test_a_model_without_weights_is_refused_with_what_helps():
    error = needs_weights("ViT-B-32", "something else")
    assert error.code == 2 and error.fix == "`pretrained` FILE or an OpenCLIP tag; something else"
    error = needs_weights("hf-hub:acme/clip")
    assert "`hardpairs models get hf-hub:acme/clip --out FOLDER`" in error.fix
