"""The model of two towers: MiniCLIP's sizes, OpenCLIP's interface, checkpoints."""

import math

import open_clip
import pytest
import torch
import torchvision
from torch.nn import functional

from hardpairs.core.errors import UserError
from hardpairs.models.checkpoint import checkpoint_weights
from hardpairs.models.create import create_model_and_transforms
from hardpairs.models.load import load_encoder
from tests.models.miniclip.helpers import WORDS, make, sizes


@pytest.mark.parametrize(
    ("name", "total", "trainable"),
    [
        ("miniclip-lstm", 14_161_985, 11_970_049),
        ("miniclip-transformer", 12_042_817, 9_850_881),
        ("miniclip-lstm-cnn", 4_546_049, 4_546_049),
        ("miniclip-transformer-cnn", 2_426_881, 2_426_881),
    ],
)
def test_sizes_are_miniclips(name, total, trainable):
    """With 190 words and the four special tokens."""
    assert sizes(make(name)) == (total, trainable)


@pytest.mark.parametrize("name", ["miniclip-lstm-cnn", "miniclip-transformer-cnn"])
def test_the_model_is_one_of_openclips(name):
    model, train, val = create_model_and_transforms(name, vocabulary=WORDS, output_dict=True)
    model.eval()
    tokens, images = torch.tensor([[4, 5, 0], [6, 0, 0]]), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        out = model(images, tokens)
        assert out.keys() == {"image_features", "text_features", "logit_scale"}
        torch.testing.assert_close(
            out["image_features"], functional.normalize(model.encode_image(images), dim=-1)
        )
        torch.testing.assert_close(out["text_features"], model.encode_text(tokens, normalize=True))
    assert out["image_features"].shape == out["text_features"].shape == (2, 256)
    assert float(out["logit_scale"]) == pytest.approx(1 / 0.07)
    cfg = open_clip.get_model_preprocess_cfg(model)
    assert (
        cfg["size"] == (224, 224)
        and cfg["mean"] == (0.485, 0.456, 0.406)
        and cfg["resize_mode"] == "squash"
    )
    picture = torchvision.transforms.functional.to_pil_image(torch.rand(3, 40, 90))
    assert val(picture).shape == train(picture).shape == (3, 224, 224)
    siglip = make(name, init_logit_scale=math.log(10), init_logit_bias=-10)
    assert siglip(images, tokens)[3].item() == -10


def test_openclips_options_for_models():
    model, _, _ = create_model_and_transforms(
        "miniclip-lstm-cnn",
        vocabulary=WORDS,
        force_image_size=64,
        force_context_length=8,
        image_mean=(0.5,) * 3,
        image_resize_mode="shortest",
    )
    cfg = open_clip.get_model_preprocess_cfg(model)
    assert (
        cfg["size"] == (64, 64)
        and cfg["mean"] == (0.5,) * 3
        and cfg["std"] == (0.229, 0.224, 0.225)
        and cfg["resize_mode"] == "shortest"
    )
    assert model.context_length == 8
    for options in ({"precision": "bf16"}, {"jit": True}, {"pretrained_image": True}):
        with pytest.raises(UserError) as error:
            create_model_and_transforms("miniclip-lstm-cnn", vocabulary=WORDS, **options)
        assert error.value.code == 2
    with pytest.raises(UserError, match="no gradient checkpointing"):
        model.set_grad_checkpointing()


def test_locking():
    model = make("miniclip-lstm-cnn")
    model.lock_image_tower(unlocked_groups=2, freeze_bn_stats=True)
    model.lock_text_tower()
    left = {name.rsplit(".", 2)[0] for name, p in model.named_parameters() if p.requires_grad}
    assert left == {"visual.backbone.3", "visual.head", "logit_scale"}
    model.text.set_vocabulary_size(10)
    assert (
        model.text.vocab_size == model.vocab_size == 10
        and not model.text.embedding.weight.requires_grad
    )
    with pytest.raises(UserError):
        model.lock_text_tower(unlocked_layers=1)


def test_a_checkpoint_opens_with_its_own_words(tmp_path):
    model = make("miniclip-test", words=["red", "cat"]).eval()
    path = str(tmp_path / "epoch_1.pt")
    torch.save(
        {
            "state_dict": {f"module.{name}": value for name, value in model.state_dict().items()},
            "vocabulary": ["red", "cat"],
        },
        path,
    )
    encoder = load_encoder("miniclip-test", path)
    assert encoder.tokenizer(["Red dog"]).tolist()[0][:3] == [4, 1, 0]
    for name, value in encoder.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])
    with pytest.raises(UserError) as error:
        load_encoder("miniclip-lstm-cnn", path)
    assert error.value.code == 4 and "not of miniclip-lstm-cnn" in error.value.text()
    torch.save({"state_dict": checkpoint_weights(path)}, path)
    with pytest.raises(UserError, match="needs a vocabulary"):
        load_encoder("miniclip-test", path)


def test_a_forced_image_size_travels_with_the_checkpoint(tmp_path):
    """Global pooling takes any size: a wrong one is no error, but another model."""
    from PIL import Image

    from hardpairs.models.checkpoint import PREPROCESS
    from hardpairs.models.create import preprocess_of

    made, _, _ = create_model_and_transforms(
        "miniclip-lstm-cnn", vocabulary=["mug"], force_image_size=64
    )
    stored = {
        "state_dict": made.state_dict(),
        "vocabulary": ["mug"],
        PREPROCESS: preprocess_of(made),
    }
    torch.save(stored, tmp_path / "a.pt")
    encoder = load_encoder("miniclip-lstm-cnn", str(tmp_path / "a.pt"))
    assert tuple(encoder.model.visual.image_size) == (64, 64)
    assert encoder.transform(Image.new("RGB", (300, 200))).shape == (3, 64, 64)
