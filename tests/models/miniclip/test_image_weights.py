"""Image weights: from the cache, from files, or none by name."""

import hashlib
from types import SimpleNamespace

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from hardpairs.core.errors import UserError
from hardpairs.models.create import (
    find_image_weights,
    prepare_towers,
)
from hardpairs.models.miniclip import image_weights
from hardpairs.models.miniclip.image_weights import RESNET18
from tests.models.miniclip.helpers import make


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of torchvision."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch/hub/checkpoints"


def test_no_weights_are_an_error_that_says_what_to_do(cache):
    for model in ("miniclip-lstm", "miniclip-transformer"):
        with pytest.raises(UserError) as error:
            find_image_weights(model, None, fresh=True)
        text = error.value.text()
        assert error.value.code == 3 and str(cache) in text
        assert all(
            word in text
            for word in (
                "`image_weights` torchvision",
                "`image_weights` FILE",
                "`image_weights` none",
                "-cnn",
            )
        )


def test_weights_that_are_asked_for_are_fetched_and_checked(cache, tmp_path, monkeypatch):
    """From a file's URL: torchvision's is another machine's."""
    content = b"not what the name promises"
    (tmp_path / "resnet18-00000000.pth").write_bytes(content)
    right = tmp_path / f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    right.write_bytes(content)
    for place, code in (
        (tmp_path / "resnet18-00000000.pth", 3),
        (tmp_path / "resnet18-absent.pth", 3),
        (right, 0),
    ):
        monkeypatch.setattr(image_weights, "RESNET18", SimpleNamespace(url=place.as_uri()))
        if code:
            with pytest.raises(UserError, match="cannot be fetched") as error:
                find_image_weights("miniclip-lstm", "torchvision", fresh=True)
            assert error.value.code == code and not list(cache.iterdir())
    assert find_image_weights("miniclip-lstm", "torchvision", fresh=True) == cache / right.name
    assert find_image_weights("miniclip-lstm", None, fresh=True).read_bytes() == content


def test_what_needs_no_weights(cache):
    assert find_image_weights("miniclip-lstm", "none", fresh=True) is None
    assert find_image_weights("miniclip-lstm-cnn", None, fresh=True) is None
    assert find_image_weights("miniclip-lstm", None, fresh=False) is None
    assert find_image_weights("RN50", None, fresh=True) is None
    for model, choice, says in (
        ("miniclip-lstm-cnn", "some.pth", "cannot take"),
        ("RN50", "none", "is for models of small towers"),
        ("miniclip-lstm", "absent.pth", "not a file"),
    ):
        with pytest.raises(UserError, match=says) as error:
            find_image_weights(model, choice, fresh=True)
        assert error.value.code == 2


def test_weights_are_taken_from_the_cache_and_from_files(cache, tmp_path):
    torch.manual_seed(3)
    theirs = torchvision.models.resnet18(weights=None)
    cache.mkdir(parents=True)
    torch.save(theirs.state_dict(), cache / RESNET18.url.rpartition("/")[2])
    save_file(timm.create_model("resnet18").state_dict(), tmp_path / "timm.safetensors")
    for choice in (None, str(tmp_path / "timm.safetensors")):
        model = make("miniclip-lstm")
        path = find_image_weights("miniclip-lstm", choice, fresh=True)
        prepare_towers(model, ["a", "b"], path)
        assert model.text.vocab_size == 6
        if choice is None:
            for name, value in model.visual.backbone.state_dict().items():
                assert torch.equal(value, theirs.state_dict()[name])
    assert not torch.equal(model.visual.backbone.conv1.weight, theirs.conv1.weight)
    assert not model.visual.backbone.conv1.weight.requires_grad


def test_weights_of_another_network_and_torn_files_are_refused(tmp_path):
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), tmp_path / "resnet34.pth")
    (tmp_path / "torn.pth").write_bytes((tmp_path / "resnet34.pth").read_bytes()[:5000])
    (tmp_path / "torn.safetensors").write_bytes(b"\x20\0\0\0\0\0\0\0{")
    for name in ("resnet34.pth", "torn.pth", "torn.safetensors"):
        with pytest.raises(UserError) as error:
            prepare_towers(make("miniclip-lstm"), ["a"], tmp_path / name)
        assert error.value.code == 4
