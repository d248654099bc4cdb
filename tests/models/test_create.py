"""Models from names and weights, and what is wrong with either."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from hardpairs.core.errors import UserError
from hardpairs.models.create import (
    create_model_and_transforms,
    find_image_weights,
    freeze_statistics,
    loadable,
    preprocess_of,
)
from hardpairs.models.model_config import register_configs


@pytest.fixture(scope="module", autouse=True)
def configs():
    register_configs()


def test_an_unknown_name_is_refused():
    with pytest.raises(UserError, match="unknown model") as error:
        create_model_and_transforms("no-such-model")
    assert error.value.code == 2 and "hardpairs-small" in error.value.fix
    with pytest.raises(UserError, match="unknown model") as error:
        create_model_and_transforms("hardpair-small")
    assert "one of: hardpairs-small" in error.value.fix


def test_weights_of_another_model_are_refused(tmp_path):
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="the checkpoint is not of hardpairs-test") as error:
        create_model_and_transforms("hardpairs-test", str(tmp_path / "other.pt"))
    assert error.value.code == 4 and error.value.where == str(tmp_path / "other.pt")


def test_a_head_is_left_out_of_what_openclip_loads(checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    expected = dict(content["state_dict"])
    content["state_dict"]["embedding_head.mlp.0.bias"] = torch.ones(1)
    path = str(tmp_path / "with_head.pt")
    torch.save(content, path)
    with loadable(path, "hardpairs-test") as weights:
        assert weights != path
        assert torch.load(weights, weights_only=True)["state_dict"].keys() == expected.keys()
    with loadable(str(checkpoint), "hardpairs-test") as weights:
        assert weights == str(checkpoint)
    model = create_model_and_transforms("hardpairs-test", path)[0]
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_image_weights_are_for_small_towers():
    with pytest.raises(UserError, match="is for models of small towers") as error:
        find_image_weights("hardpairs-test", "none", fresh=True)
    assert error.value.code == 2
    assert find_image_weights("hardpairs-test", None, fresh=True) is None
    assert find_image_weights("miniclip-test", None, fresh=False) is None


def test_frozen_statistics_stay_as_they_are():
    frozen = freeze_statistics(nn.Sequential(nn.BatchNorm2d(3))).train()
    frozen(torch.rand(4, 3, 2, 2))
    assert frozen[0].running_mean.tolist() == [0, 0, 0] and not list(frozen.parameters())


@torch.no_grad()
def test_frozen_statistics_keep_the_activations_of_timm():
    model = timm.create_model("tf_efficientnet_lite0", num_classes=4).eval()
    pixels = torch.randn(2, 3, 64, 64)
    expected = model(pixels)
    frozen = freeze_statistics(model).train()
    assert torch.allclose(frozen(pixels), expected, atol=1e-5 * float(expected.abs().max()))


def test_the_preprocessing_is_plain_json():
    model = create_model_and_transforms("hardpairs-test")[0]
    described = preprocess_of(model)
    assert described["size"] == 32 or list(described["size"]) == [32, 32]
    assert isinstance(described["mean"], list) and len(described["mean"]) == 3
