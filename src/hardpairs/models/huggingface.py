"""Hugging Face's CLIP models, and CLIPPINGS' checkpoints of them, under OpenCLIP's names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from hardpairs.core.errors import bad_input, mismatch
from hardpairs.core.parse import parse_json
from hardpairs.models.weight_files import read_weights_file

MARK = "text_model.embeddings.token_embedding.weight"
"""An entry that only such weights have."""
_NAMES = {
    "text_model.embeddings.token_embedding.": "token_embedding.",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.encoder.layers.": "transformer.resblocks.",
    "text_model.final_layer_norm.": "ln_final.",
    "text_projection.weight": "text_projection",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.": "visual.conv1.",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.": "visual.ln_pre.",
    "vision_model.encoder.layers.": "visual.transformer.resblocks.",
    "vision_model.post_layernorm.": "visual.ln_post.",
    "visual_projection.weight": "visual.proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_TRANSPOSED = ("text_projection", "visual.proj")
_PART_OF_ATTENTION = re.compile(r"(.*)self_attn\.([qkv])_proj\.(weight|bias)")


def is_folder(path: str) -> bool:
    """Return whether a path is a folder as ``CLIPModel.save_pretrained`` writes it."""
    config = Path(path) / "config.json"
    return config.is_file() and _config(config).get("model_type") == "clip"


def _config(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def weights_file(path: str) -> str:
    """Return the file of weights in a folder; a path that is not a folder is such a file itself.

    Raises:
        UserError: exit 3 for a folder without weights.
    """
    names = ("model.safetensors", "pytorch_model.bin")
    files = [Path(path) / name for name in names if (Path(path) / name).is_file()]
    if Path(path).is_dir() and not files:
        raise bad_input(
            "the folder has a config.json and no weights",
            where=path,
            fix="model.safetensors or pytorch_model.bin, in one file",
        )
    return str(files[0]) if files else path


def read_folder(path: str) -> dict[str, torch.Tensor]:
    """Return the weights of a folder or of its file, by their stored names; no code is run.

    Raises:
        UserError: exit 3 for a folder without weights, exit 4 for damaged ones.
    """
    file = weights_file(path)
    state = read_weights_file(file)
    if not isinstance(state, dict):
        raise mismatch("the file holds no weights by name", where=file, fix="give another file")
    return state


def activation(path: str) -> str:
    """Return the activation of a folder's towers: ``quick_gelu`` (OpenAI's) or another."""
    config = _config(Path(path) / "config.json")
    return str((config.get("vision_config") or {}).get("hidden_act", "quick_gelu"))


def to_openclip(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights of Hugging Face's ``CLIPModel`` under the names of OpenCLIP's ``CLIP``.

    Query, key and value become one matrix, and projections are transposed.
    """
    renamed: dict[str, torch.Tensor] = {}
    attention: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in state.items():
        if name.endswith("position_ids"):
            continue
        part = _PART_OF_ATTENTION.fullmatch(name)
        if part:
            attention.setdefault(f"{_renamed(part[1])}attn.in_proj_{part[3]}", {})[part[2]] = value
            continue
        new = _renamed(name)
        renamed[new] = value.T.contiguous() if new in _TRANSPOSED else value
    joined = {
        name: torch.cat([parts[letter] for letter in "qkv"]) for name, parts in attention.items()
    }
    return renamed | joined


def _renamed(name: str) -> str:
    for theirs, ours in _NAMES.items():
        name = name.replace(theirs, ours)
    return name
