"""The start model: both towers hold their packages' weights, and every command takes the folder."""

from __future__ import annotations

import io
import shutil
import zipfile

import pytest
import torch
from safetensors.torch import load

from hardpairs.catalog.lite0_minilm import (
    IMAGE,
    TEXT,
    build_lite0_minilm,
    check_transformers,
    write_model,
)
from hardpairs.cli.embed import main as embed
from hardpairs.core.errors import UserError
from hardpairs.models.load import load_encoder
from hardpairs.models.model_folder import WEIGHTS
from tests.catalog.made import wheel
from tests.catalog.made_model import tower_packages
from tests.helpers import in_process, run


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    return tower_packages(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def folder(packages, tmp_path_factory):
    folder = tmp_path_factory.mktemp("start") / "model"
    write_model(folder, packages)
    return folder


def member(path, end):
    with zipfile.ZipFile(path) as content:
        return content.read(next(name for name in content.namelist() if name.endswith(end)))


def test_the_towers_hold_the_weights_of_their_packages(folder, packages):
    state = load_encoder(f"local-dir:{folder}", None).model.state_dict()
    theirs = torch.load(io.BytesIO(member(packages[IMAGE.name], ".pth")), weights_only=True)
    ours = [value for name, value in state.items() if name.startswith("visual.trunk.")]
    assert len(ours) == len(theirs) - 2
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs.values(), strict=False))
    text = load(member(packages[TEXT.name], ".safetensors"))
    mine = {
        name.removeprefix("text.transformer."): value
        for name, value in state.items()
        if name.startswith("text.transformer.")
    }
    assert mine and all(torch.equal(value, text[name]) for name, value in mine.items())


def test_the_folder_may_be_moved_and_gives_the_same_bytes_again(folder, packages, tmp_path):
    shutil.copytree(folder, tmp_path / "moved")
    encoder = load_encoder(f"local-dir:{tmp_path / 'moved'}", None)
    first, second = encoder.tokenizer(["a big dog", "a small cat"])
    assert first.shape == (32,) and first[:5].tolist() == [2, 5, 8, 6, 3]
    with torch.no_grad():
        texts = encoder.model.encode_text(torch.stack([first, second]))
    assert texts.shape == (2, 256) and not torch.equal(texts[0], texts[1])
    write_model(tmp_path / "again", packages)
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()


def test_embedding_and_training_start_from_it(folder, table, tmp_path):
    data = ("--csv", table, "--csv-separator", ",", "--workers", 0)
    model = ("--model", f"local-dir:{folder}")
    done = in_process(embed, *data, *model, "--out", tmp_path / "emb")
    assert done.returncode == 0, done.stderr
    flags = (
        *("--train-data", str(table), "--csv-separator", ",", "--batching", "random"),
        *("--batch-size", "4", "--max-steps", "1", "--epochs", "1", "--workers", "0"),
        *("--logs", str(tmp_path), "--name", "run"),
    )
    done = run("python", "-m", "training.main", *flags, *model)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/checkpoints/epoch_1.pt").is_file()


def test_weights_of_another_shape_are_refused(packages, tmp_path):
    state = torch.load(io.BytesIO(member(packages[IMAGE.name], ".pth")), weights_only=True)
    state["their.0"] = state["their.0"][:5]
    changed = io.BytesIO()
    torch.save(state, changed)
    image = wheel(
        tmp_path / "image.whl", {"a/lite0.pth": changed.getvalue(), "a/LICENSE": b"Apache"}
    )
    with pytest.raises(UserError, match=r"their\.0 .* is not conv_stem") as error:
        write_model(tmp_path / "model", {**packages, IMAGE.name: image})
    assert error.value.code == 4


def test_without_transformers(monkeypatch):
    check_transformers()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="transformers") as error:
        check_transformers()
    assert error.value.code == 2


@pytest.mark.slow
def test_the_real_towers(tmp_path):
    """Fetches 100 MB. The text tower puts a paraphrase nearer than another sentence."""
    build_lite0_minilm(tmp_path / "model", tmp_path / "packages")
    encoder = load_encoder(f"local-dir:{tmp_path / 'model'}", None)
    assert sum(p.numel() for p in encoder.model.parameters()) == 26_362_369
    texts = ["a cat sleeps on the sofa", "a kitten is asleep on the couch", "stock prices fell"]
    with torch.no_grad():
        cat, kitten, prices = encoder.model.encode_text(encoder.tokenizer(texts), normalize=True)
    assert cat @ kitten > 0.5 > 0.3 > cat @ prices
