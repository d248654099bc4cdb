"""OpenCLIP's folders of a model, ``local-dir:FOLDER``: configuration, weights, tokenizer.

OpenCLIP ignores other weights than the folder's, and looks for a text tower of Hugging Face on its
hub. Here the folder's weights are the default, and its ``config.json`` is the text tower's.
"""

from __future__ import annotations

import importlib.util
from itertools import chain
from pathlib import Path
from typing import Any

from hardpairs.core.errors import UserError, bad_input, usage
from hardpairs.core.parse import parse_json
from hardpairs.models.download import HUB

PREFIX = "local-dir:"
CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
WEIGHT_NAMES = (
    WEIGHTS,
    *("open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin"),
    *("open_clip_pytorch_model.pth", "model.safetensors", "pytorch_model.bin"),
)
"""Names of weights by OpenCLIP's preference."""
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")
"""Files of which a tokenizer of Hugging Face has one."""


def model_folder(model_name: str) -> Path | None:
    """Return the folder that a model's name means, or ``None`` for another name."""
    return Path(model_name.removeprefix(PREFIX)) if model_name.startswith(PREFIX) else None


def absolute_name(model_name: str) -> str:
    """Return a model's name that means the same in every working folder."""
    folder = model_folder(model_name)
    return model_name if folder is None else f"{PREFIX}{folder.absolute()}"


def folder_weights(model_name: str) -> str | None:
    """Return the weights in a model's folder; ``None`` where there are none, or no folder."""
    folder = model_folder(model_name)
    if folder is None:
        return None
    named = [folder / name for name in WEIGHT_NAMES if (folder / name).is_file()]
    others = (sorted(folder.glob(f"*{end}")) for end in (".safetensors", ".bin", ".pth"))
    return next((str(path) for path in chain(named, *others)), None)


def needs_weights(model_name: str, *others: str) -> UserError:
    """Return the error of a model that was named without weights (exit 2).

    Args:
        model_name: The model.
        others: What else can be given in place of a checkpoint or a tag.
    """
    fixes = ["`pretrained` FILE or an OpenCLIP tag", *others]
    if model_name.startswith(HUB):
        fixes = [f"`hardpairs models get {model_name} --out FOLDER`, then `model` {PREFIX}FOLDER"]
    return usage(
        f"`model` {model_name} needs its weights",
        why="without them it would be a random model",
        fix="; ".join(fixes),
    )


def folder_config(folder: Path) -> dict[str, Any]:
    """Return OpenCLIP's configuration of the model in a folder.

    Raises:
        UserError: Exit 2 when there is no such folder, exit 3 when it holds no configuration.
    """
    if not folder.is_dir():
        raise usage(
            "no such folder of a model", where=str(folder), fix="check the path after local-dir:"
        )
    try:
        config = parse_json((folder / CONFIG).read_text(encoding="utf-8"))["model_cfg"]
        if not {"embed_dim", "vision_cfg", "text_cfg"} <= set(config):
            raise KeyError("embed_dim, vision_cfg or text_cfg")
    except FileNotFoundError:
        reason = f"it has no {CONFIG}"
    except (ValueError, TypeError, KeyError, OSError) as error:
        reason = f"its {CONFIG} has no model_cfg that can be read: {error}"
    else:
        return dict(config)
    raise bad_input(
        f"the folder holds no model of OpenCLIP: {reason}",
        where=str(folder),
        fix="give a folder as OpenCLIP's hub has them, or as `hardpairs models get` writes them",
    )


def folder_options(folder: Path) -> dict[str, Any]:
    """Return options of OpenCLIP's maker that keep a folder's text tower off the hub."""
    text = dict(folder_config(folder)["text_cfg"])
    if not text.get("hf_model_name"):
        return {}
    text["hf_model_pretrained"] = False
    if (folder / "config.json").is_file():
        text["hf_model_name"] = str(folder)
    return {"text_cfg": text}


def check_tokenizer(model_name: str, text_config: dict[str, Any]) -> None:
    """Refuse a tokenizer of Hugging Face that cannot be made.

    Args:
        model_name: The model.
        text_config: Its ``text_cfg``.

    Raises:
        UserError: Exit 2 without transformers, exit 3 for a folder without the tokenizer's files.
    """
    if not text_config.get("hf_tokenizer_name"):
        return
    if importlib.util.find_spec("transformers") is None:
        raise usage(
            f"the tokenizer of {model_name} needs the package transformers",
            fix="pip install transformers",
        )
    folder = model_folder(model_name)
    if folder and not any((folder / name).is_file() for name in TOKENIZERS):
        raise bad_input(
            "the folder lacks the files of its tokenizer",
            where=str(folder),
            why="OpenCLIP takes the tokenizer of such a folder from nowhere else",
            fix="copy tokenizer.json, tokenizer_config.json and vocab.txt of the text tower into "
            "it",
        )
