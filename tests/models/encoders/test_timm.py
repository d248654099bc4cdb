"""Features and not logits, the model's own preprocessing, and no guess where nothing states it."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config

from hardpairs.compat import helip
from hardpairs.core.errors import UserError
from hardpairs.data.images import decode
from hardpairs.models.encoders.base import EncoderContext
from hardpairs.models.encoders.timm import TimmEncoder
from tests.helpers import picture


def open_timm(name, weights=None, image_size=None):
    config = TimmEncoder.Config(name, weights, image_size)
    return TimmEncoder.from_config(config, EncoderContext())


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """A timm model with weights of its own, as a file and as a folder."""
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(5)
    model = timm.create_model("test_vit", num_classes=7).eval()
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {
        key: model.pretrained_cfg[key]
        for key in (
            "input_size",
            "interpolation",
            "mean",
            "std",
            "crop_pct",
            "classifier",
            "first_conv",
        )
    }
    content = {
        "architecture": "test_vit",
        "num_classes": 7,
        "pretrained_cfg": {**config, "mean": [0.1, 0.2, 0.3], "num_classes": 7},
    }
    (folder / "config.json").write_text(json.dumps(content))
    return model, folder


def test_features_are_what_comes_before_the_classifier(vit):
    model, folder = vit
    encoder = open_timm(str(folder))
    x = torch.rand(3, 3, 160, 160)
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(x), pre_logits=True)
        assert (
            torch.equal(encoder.encode(x), expected)
            and expected.shape == (3, model.num_features) != model(x).shape
        )


def test_the_preprocessing_is_the_models_own(vit):
    model, folder = vit
    encoder = open_timm(str(folder))
    image = decode(picture(1))
    config = {**resolve_model_data_config(model), "mean": (0.1, 0.2, 0.3)}
    assert torch.equal(
        encoder.transform(image), create_transform(**config, is_training=False)(image)
    )
    assert encoder.description["preprocess"]["mean"] == [0.1, 0.2, 0.3]
    assert encoder.description == json.loads(json.dumps(encoder.description))


def test_a_file_of_weights(vit):
    _, folder = vit
    encoder = open_timm("timm/test_vit.r160_in1k", str(folder / "model.safetensors"))
    from_folder = open_timm(str(folder))
    x = torch.rand(1, 3, 160, 160)
    assert torch.equal(encoder.encode(x), from_folder.encode(x))
    assert (
        encoder.description["weights"] == from_folder.description["weights"]
    )  # wherever they came from
    assert encoder.description["model"] == "timm/test_vit.r160_in1k"


def test_another_input_size():
    encoder = open_timm("timm/test_vit", "none", image_size=64)
    pixels = encoder.transform(decode(picture(1)))
    assert pixels.shape == (3, 64, 64) and encoder.encode(pixels[None]).shape == (1, 64)
    assert encoder.description["preprocess"]["input_size"] == [3, 64, 64]


def test_helips_transform():
    """Resized to 256 pixels, and the 224 in the middle."""
    config = TimmEncoder.Config("timm/test_vit", "none", helip.IMAGE_SIZE, helip.IMAGE_CROP)
    encoder = TimmEncoder.from_config(config, EncoderContext())
    sizes = [step.size for step in encoder.transform.transforms if hasattr(step, "size")]
    assert sizes == [256, (224, 224)]


@pytest.mark.parametrize("missing", ["mean", "std", "input_size", "interpolation", "architecture"])
def test_an_unknown_preprocessing_is_refused(vit, tmp_path, missing):
    content = json.loads((vit[1] / "config.json").read_text())
    content.pop(missing, None) or content["pretrained_cfg"].pop(missing)
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"does not say {missing}") as error:
        open_timm(str(tmp_path))
    assert error.value.code == 3


@pytest.mark.parametrize(
    ("name", "weights", "code", "says"),
    [
        ("timm/no_such_model", None, 2, "no model 'no_such_model'"),
        ("timm/test_vit.no_tag", None, 2, "r160_in1k"),
        ("no/such/folder", None, 2, "no image encoder"),
        ("timm/test_vit", "no.safetensors", 2, "no such weights file"),
        (
            "timm/vit_small_patch16_224",
            "FILE",
            3,
            "vit_small_patch16_224.dino",
        ),  # its weights were trained with different means
        ("timm/test_resnet", "FILE", 4, "not of this model"),
        ("timm/test_vit", "TORN", 4, "not whole"),
        ("FOLDER WITHOUT CONFIG", None, 3, "config.json"),
    ],
)
def test_what_is_refused(vit, tmp_path, name, weights, code, says):
    file = vit[1] / "model.safetensors"
    (tmp_path / "torn.safetensors").write_bytes(file.read_bytes()[:5000])
    places = {
        "FILE": str(file),
        "TORN": str(tmp_path / "torn.safetensors"),
        "FOLDER WITHOUT CONFIG": str(tmp_path),
    }
    with pytest.raises(UserError) as error:
        open_timm(places.get(name, name), places.get(weights, weights))
    assert error.value.code == code and says in str(error.value), str(error.value)
