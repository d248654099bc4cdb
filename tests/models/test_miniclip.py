"""The small towers: MiniCLIP's sizes, what is frozen, one caption's embedding whatever stands beside it, and where image weights come from."""

import hashlib
import math
from types import SimpleNamespace

import open_clip
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from hardpairs.core.errors import UserError
from hardpairs.models.checkpoint import checkpoint_weights
from hardpairs.models.create import (
    create_model_and_transforms,
    find_image_weights,
    freeze_statistics,
    prepare_towers,
)
from hardpairs.models.load import load_encoder
from hardpairs.models.miniclip import image_weights
from hardpairs.models.miniclip.image_weights import RESNET18
from hardpairs.models.miniclip.text import lengths_of, sinusoids

WORDS = [f"word{i}" for i in range(190)]


def make(name, words=WORDS, **options):
    torch.manual_seed(0)
    return create_model_and_transforms(name, vocabulary=list(words), **options)[0]


def sizes(model):
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


@pytest.mark.parametrize(
    ("name", "total", "trainable"),
    [("miniclip-lstm", 14_161_985, 11_970_049), ("miniclip-transformer", 12_042_817, 9_850_881)],
)
def test_sizes_are_miniclips(name, total, trainable):
    """With 190 words and the four special tokens."""
    assert sizes(make(name)) == (total, trainable)


def test_the_last_twenty_tensors_of_resnet18_are_trained():
    backbone = make("miniclip-lstm").visual.backbone
    trained = [name for name, parameter in backbone.named_parameters() if parameter.requires_grad]
    assert len(trained) == 20 and {name.split(".")[0] for name in trained} == {"layer3", "layer4"}
    assert [name for name in trained if name.startswith("layer3")] == [
        f"layer3.1.{rest}"
        for rest in ("bn1.weight", "bn1.bias", "conv2.weight", "bn2.weight", "bn2.bias")
    ]


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


@pytest.mark.parametrize("name", ["miniclip-lstm-cnn", "miniclip-transformer-cnn"])
def test_a_captions_embedding_is_its_own(name):
    """Neither other captions nor the places behind its words change it, and the words' order does."""
    model = make(name).eval()
    rows = [[4, 5, 6], [7], [8, 9, 4, 4, 10], [6, 5, 4]]
    padded = torch.tensor([row + [0] * (32 - len(row)) for row in rows])
    with torch.no_grad():
        together = model.encode_text(padded)
        for i, row in enumerate(rows):
            torch.testing.assert_close(
                together[i], model.encode_text(torch.tensor([row]))[0], atol=1e-5, rtol=1e-4
            )
        assert (together[0] - together[3]).abs().max() > 1e-3
        nothing = model.encode_text(torch.zeros(2, 32, dtype=torch.int64))
    assert torch.isfinite(nothing).all() and torch.equal(nothing[0], nothing[1])
    assert lengths_of(torch.tensor([[4, 5, 0], [0, 0, 0]])).tolist() == [2, 1]


def test_lstm_against_its_cells():
    """The last layer's final states, by stepping torch's cells through one caption in both directions."""
    text = make("miniclip-lstm-cnn").text.eval()
    tokens = torch.tensor([4, 5, 6, 7])
    with torch.no_grad():
        sequence, final = text.embedding(tokens), {}
        for layer in range(2):
            outputs = {}
            for suffix, steps in (("", range(4)), ("_reverse", range(3, -1, -1))):
                cell = nn.LSTMCell(sequence.shape[1], 256)
                cell.load_state_dict(
                    {
                        name: getattr(text.lstm, f"{name}_l{layer}{suffix}")
                        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                    }
                )
                state, seen = None, {}
                for step in steps:
                    state = cell(sequence[step][None], state)
                    seen[step] = state[0][0]
                outputs[suffix], final[suffix] = (
                    torch.stack([seen[step] for step in range(4)]),
                    state[0],
                )
            sequence = torch.cat([outputs[""], outputs["_reverse"]], dim=1)
        expected = text.head(text.norm(torch.cat([final[""], final["_reverse"]], dim=1)))
        torch.testing.assert_close(text(tokens[None]), expected, atol=1e-5, rtol=1e-4)


def test_positions():
    table = sinusoids(5, 4)
    assert table[0].tolist() == [0, 1, 0, 1]
    assert table[3].tolist() == pytest.approx(
        [math.sin(3), math.cos(3), math.sin(3 / 100), math.cos(3 / 100)]
    )


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


def test_statistics_move_in_frozen_layers_unless_frozen_too():
    for freeze, moves in ((False, True), (True, False)):
        model = make("miniclip-lstm", words=["a"])
        if freeze:
            assert freeze_statistics(model) is model
        model.train()
        before = {name: value.clone() for name, value in model.visual.named_buffers()}
        model.encode_image(torch.rand(2, 3, 64, 64))
        changed = {
            name
            for name, value in model.visual.named_buffers()
            if not torch.equal(value, before[name])
        }
        assert changed == (set(before) if moves else set())
        assert model.visual.head[1].weight.requires_grad


# Image weights.


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
        ("miniclip-lstm", "absent.pth", "no file"),
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


# Checkpoints.


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
