"""Any sentence-transformers text model, by its name on the hub or from a local folder. An optional package, imported only here."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import torch

from hardpairs.core.errors import bad_input, usage
from hardpairs.models.encoders.base import TextEncoder, plain, weights_hash


def open_sentence_transformer(name: str, *, device: str) -> TextEncoder:
    """Opens a text encoder.

    Args:
        name: such as ``sentence-transformers/all-mpnet-base-v2``, or a folder that sentence-transformers saved (then nothing is fetched).

    Raises:
        UserError: exit 2 without the package, exit 3 when the model cannot be had or does not say how tokens become one vector.
    """
    if importlib.util.find_spec("sentence_transformers") is None:
        raise usage(
            f"--text-encoder {name} needs sentence-transformers, which is not installed",
            fix="pip install sentence-transformers",
        )
    from sentence_transformers import SentenceTransformer

    if os.path.isdir(name):
        _check_modules(Path(name) / "modules.json", name)
    try:
        model = SentenceTransformer(name, device=device).eval()
    except Exception as error:  # the hub's, safetensors' and transformers' own
        raise bad_input(
            f"the text encoder {name} cannot be had: {' '.join(str(error).split())[:300]}",
            fix="give a folder that holds it",
        ) from None
    if not os.path.isdir(name):
        from huggingface_hub import try_to_load_from_cache

        _check_modules(Path(str(try_to_load_from_cache(name, "modules.json"))), name)
    prompt = model.prompts.get(model.default_prompt_name) if model.default_prompt_name else None
    description = {
        "model": os.path.basename(os.path.normpath(name)) if os.path.isdir(name) else name,
        "weights": weights_hash(model),
        "preprocess": plain({"max_tokens": model.max_seq_length, "prompt": prompt}),
    }

    def encode(captions: list[str]) -> torch.Tensor:
        return model.encode(
            captions, batch_size=len(captions), convert_to_tensor=True, show_progress_bar=False
        )

    return TextEncoder(_same, encode, description)


def _same(captions: list[str]) -> Any:
    return captions


def _check_modules(path: Path, name: str) -> None:
    """Without ``modules.json`` the package would make up a pooling."""
    if not path.is_file():
        raise bad_input(
            f"{name} has no modules.json",
            why="it does not say how a caption's tokens become one vector, and a guess gives other embeddings",
            fix="give a model that sentence-transformers saved",
        )
