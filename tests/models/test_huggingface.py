"""Hugging Face's CLIP folders as start models: names there and back, and the same features as transformers gives."""

import json

import open_clip
import pytest
import torch

from hardpairs.core.errors import UserError
from hardpairs.models.checkpoint import checkpoint_weights, is_weights
from hardpairs.models.huggingface import MARK, to_openclip
from hardpairs.models.load import load_encoder

SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    "quick_gelu": True,
}


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory):
    """A small CLIP that OpenCLIP knows by name, with OpenAI's activation."""
    path = tmp_path_factory.mktemp("configs") / "small-clip-quickgelu.json"
    path.write_text(json.dumps(SMALL))
    path.with_name("small-clip.json").write_text(json.dumps({**SMALL, "quick_gelu": False}))
    open_clip.add_model_config(path.parent)


def their_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """OpenCLIP's weights under Hugging Face's names, written down here once more and the other way round."""
    found = {}
    for name, value in state.items():
        side = "vision_model" if name.startswith("visual.") else "text_model"
        rest = name.removeprefix("visual.")
        if rest.startswith("transformer.resblocks."):
            _, _, number, part = rest.split(".", 3)
            layer = f"{side}.encoder.layers.{number}."
            if part.startswith("attn.in_proj_"):
                for letter, third in zip("qkv", value.chunk(3), strict=True):
                    found[
                        f"{layer}self_attn.{letter}_proj.{part.removeprefix('attn.in_proj_')}"
                    ] = third
                continue
            parts = {
                "attn.out_proj": "self_attn.out_proj",
                "ln_1": "layer_norm1",
                "ln_2": "layer_norm2",
                "mlp.c_fc": "mlp.fc1",
            }
            first, kind = part.rsplit(".", 1)
            found[f"{layer}{({**parts, 'mlp.c_proj': 'mlp.fc2'})[first]}.{kind}"] = value
        else:
            new = {
                "visual.class_embedding": "vision_model.embeddings.class_embedding",
                "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
                "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
                "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
                "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
                "visual.ln_post.weight": "vision_model.post_layernorm.weight",
                "visual.ln_post.bias": "vision_model.post_layernorm.bias",
                "visual.proj": "visual_projection.weight",
                "token_embedding.weight": MARK,
                "positional_embedding": "text_model.embeddings.position_embedding.weight",
                "ln_final.weight": "text_model.final_layer_norm.weight",
                "ln_final.bias": "text_model.final_layer_norm.bias",
                "text_projection": "text_projection.weight",
                "logit_scale": "logit_scale",
            }[name]
            found[new] = (
                value.T.contiguous() if name in ("visual.proj", "text_projection") else value
            )
    return found


@pytest.fixture
def folder(tmp_path):
    """A folder as ``save_pretrained`` writes it, and the model that it holds."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = open_clip.create_model("small-clip-quickgelu").eval()
    state = {name: value for name, value in model.state_dict().items() if name != "attn_mask"}
    save_file(
        {**their_names(state), "text_model.embeddings.position_ids": torch.arange(77)[None]},
        tmp_path / "model.safetensors",
    )
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "clip", "vision_config": {"hidden_act": "quick_gelu"}})
    )
    return tmp_path, model


def test_names_there_and_back(folder):
    path, model = folder
    assert is_weights(str(path))
    found, expected = checkpoint_weights(path), model.state_dict()
    assert found.keys() == expected.keys() - {"attn_mask"}
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_a_folder_is_a_start_model(folder):
    path, model = folder
    encoder = load_encoder("small-clip-quickgelu", str(path))
    images, texts = torch.randn(2, 3, 32, 32), encoder.tokenizer(["a cat", "two dogs"])
    torch.testing.assert_close(encoder.model.encode_image(images), model.encode_image(images))
    torch.testing.assert_close(encoder.model.encode_text(texts), model.encode_text(texts))
    assert encoder.description["weights"].startswith("sha256:")


def test_clippings_checkpoint_is_a_file_with_these_names(folder):
    path, model = folder
    torch.save(
        their_names(
            {name: value for name, value in model.state_dict().items() if name != "attn_mask"}
        ),
        path / "clip.pt",
    )
    encoder = load_encoder("small-clip-quickgelu", str(path / "clip.pt"))
    torch.testing.assert_close(encoder.model.visual.proj, model.visual.proj)


def test_what_cannot_be_taken(folder, tmp_path):
    path, _ = folder
    with pytest.raises(UserError, match="`model` small-clip-quickgelu"):
        load_encoder("small-clip", str(path))
    whole = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError) as error:
        load_encoder("small-clip-quickgelu", str(path))
    assert error.value.code == 4
    (path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no weights"):
        load_encoder("small-clip-quickgelu", str(path))


def test_features_are_those_of_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    sides = {
        "vision": {
            "hidden_size": 64,
            "intermediate_size": 256,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 16,
        }
    }
    sides["text"] = {
        "hidden_size": 32,
        "intermediate_size": 128,
        "num_attention_heads": 2,
        "vocab_size": 49408,
    }
    config = transformers.CLIPConfig(
        text_config={**sides["text"], "num_hidden_layers": 2},
        vision_config={**sides["vision"], "num_hidden_layers": 2},
        projection_dim=16,
    )
    torch.manual_seed(0)
    theirs = transformers.CLIPModel(config).eval()
    theirs.save_pretrained(tmp_path)
    encoder = load_encoder("small-clip-quickgelu", str(tmp_path))
    images, texts = torch.randn(2, 3, 32, 32), encoder.tokenizer(["a cat", "two dogs in the snow"])
    with torch.no_grad():
        output = theirs(pixel_values=images, input_ids=texts)
        torch.testing.assert_close(
            encoder.model.encode_image(images, normalize=True),
            output.image_embeds,
            rtol=1e-4,
            atol=1e-5,
        )
        torch.testing.assert_close(
            encoder.model.encode_text(texts, normalize=True),
            output.text_embeds,
            rtol=1e-4,
            atol=1e-5,
        )
    assert set(to_openclip(theirs.state_dict())) == set(encoder.model.state_dict()) - {"attn_mask"}
