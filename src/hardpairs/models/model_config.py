"""Model configurations by name, and the tokenizers that they ask for.

The names are OpenCLIP's and ours: ``hardpairs-*`` and ``miniclip-*``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import torch

from hardpairs.core.errors import UserError, bad_input, usage
from hardpairs.models.download import FIX, HUB, fetching
from hardpairs.models.model_folder import check_tokenizer, folder_config, model_folder
from hardpairs.models.tokenizer import PlainWordTokenizer, WordTokenizer, build_vocabulary

Tokenizer = Callable[[list[str]], torch.Tensor]
CONFIGS = Path(__file__).parent / "configs"
TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json", "open_clip_config.json")
"""Files of which a repository with a tokenizer has one."""
WORD_TOKENIZERS = {"words": WordTokenizer, "plain-words": PlainWordTokenizer}
"""Our tokenizers by the ``tokenizer_mode`` of a model configuration."""


@cache
def register_configs() -> None:
    """Make our model configurations known to OpenCLIP by name."""
    open_clip.add_model_config(CONFIGS)


def model_config(model_name: str) -> dict[str, Any] | None:
    """Return the configuration of a model, or ``None`` for an unknown name or one of a hub.

    Raises:
        UserError: exit 2 or 3 when ``local-dir:FOLDER`` names no folder of a model.
    """
    register_configs()
    folder = model_folder(model_name)
    if folder is not None:
        return folder_config(folder)
    return open_clip.get_model_config(model_name) if ":" not in model_name else None


def unknown_model(model_name: str) -> UserError:
    """Return the error of a name that is not a model's (exit 2), with the nearest names."""
    register_configs()
    near = difflib.get_close_matches(model_name, open_clip.list_models())
    ours = sorted(path.stem for path in CONFIGS.glob("*.json"))
    fix = f"one of: {', '.join(near or ours)}; or another one of open_clip.list_models()"
    return usage(f"unknown model {model_name!r}", fix=fix)


def uses_words(model_name: str) -> bool:
    """Return whether the text tower of a model reads a word tokenizer of ours."""
    return _text_config(model_name).get("tokenizer_mode") in WORD_TOKENIZERS


def max_vocabulary(model_name: str) -> int:
    """Return the largest number of rows of a model's token table, special tokens included.

    The table of a ``miniclip-*`` has as many rows as there are words.
    """
    return int(_text_config(model_name)["vocab_size"])


def vocabulary_of(model_name: str, captions: Iterable[str]) -> list[str]:
    """Return the vocabulary that a model of ours has over some captions."""
    rule = WORD_TOKENIZERS[_text_config(model_name)["tokenizer_mode"]].rule
    return build_vocabulary(captions, max_vocabulary(model_name), rule)


def make_tokenizer(
    model_name: str,
    vocabulary: list[str] | None = None,
    *,
    context_length: int | None = None,
    cache_dir: str | None = None,
) -> Tokenizer:
    """Return the tokenizer of a model.

    Args:
        model_name: A model of OpenCLIP or of ours.
        vocabulary: Words of a model that reads words.
        context_length: Tokens per caption; by default the model's own.
        cache_dir: Folder of tokenizers that OpenCLIP downloads.

    Raises:
        UserError: exit 2 for a model that reads words, without a vocabulary, and for a tokenizer
            that needs transformers; exit 3 for a folder without its tokenizer.
    """
    if not uses_words(model_name):
        check_tokenizer(model_name, _text_config(model_name))
        return _openclip_tokenizer(model_name, context_length, cache_dir)
    if vocabulary is None:
        raise usage(
            f"{model_name} reads words and needs a vocabulary",
            fix="give a checkpoint of ours, which holds one, or training data to build it from",
        )
    config = _text_config(model_name)
    tokenizer = WORD_TOKENIZERS[config["tokenizer_mode"]]
    return tokenizer(vocabulary, context_length or config["context_length"])


def _openclip_tokenizer(
    model_name: str, context_length: int | None, cache_dir: str | None
) -> Tokenizer:
    """Return OpenCLIP's tokenizer of a model, which may be on Hugging Face."""
    repository = _text_config(model_name).get("hf_tokenizer_name")
    if model_name.startswith(HUB):
        repository = model_name.removeprefix(HUB)
    is_fetched = bool(repository) and model_folder(model_name) is None  # a folder has its own
    source = fetching(str(repository), TOKENIZER_FILES, cache_dir) if is_fetched else nullcontext()
    try:
        with source:
            return open_clip.get_tokenizer(  # type: ignore[no-any-return]
                model_name, cache_dir=cache_dir, context_length=context_length
            )
    except OSError as error:  # transformers' and the hub's
        if not is_fetched:
            raise
        reason = str(error).partition("\n")[0]
        raise bad_input(
            f"the tokenizer of {model_name} cannot be had: {reason}",
            where=str(repository),
            fix=FIX,
        ) from None


def _text_config(model_name: str) -> dict[str, Any]:
    return dict((model_config(model_name) or {}).get("text_cfg", {}))
