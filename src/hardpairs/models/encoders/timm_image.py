"""Any timm image model: its pooled features (no class logits), with the preprocessing of its own data config.

timm/vit_small_patch14_reg4_dinov2.lvd142m      timm's weights, from its cache or the hub
timm/vit_small_patch14_reg4_dinov2.lvd142m      and a local file of them (--image-weights)
path/to/folder                                  config.json and weights, as timm and the hub save them; nothing is fetched
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import create_transform, resolve_model_data_config
from timm.models import get_arch_pretrained_cfgs, split_model_name_tag

from hardpairs.core.errors import UserError, bad_input, mismatch, usage
from hardpairs.models.encoders.base import ImageEncoder, plain, weights_hash
from hardpairs.models.encoders.openclip import RANDOM

PREFIX = "timm/"
PREPROCESS = ("input_size", "interpolation", "mean", "std")
"""What a model's config must say; timm would fill in ImageNet's."""


def open_timm(
    name: str,
    weights: str | None = None,
    *,
    device: str,
    seed: int = 0,
    image_size: int | None = None,
) -> ImageEncoder:
    """Opens a timm model as a feature extractor.

    Args:
        name: ``timm/ARCHITECTURE.TAG``, or a folder with ``config.json``.
        weights: a local file of that model's weights, ``none`` for seeded random ones, or ``None`` for timm's own (or the folder's).
        image_size: height and width of the input in pixels; default: the model's own.

    Raises:
        UserError: exit 2 for an unknown name, exit 3 when the weights cannot be had or nothing says how pictures must be prepared,
            exit 4 for weights of another model.
    """
    source, overlay, fixed = _resolve(name, weights)
    if image_size is not None:
        overlay["input_size"] = (3, image_size, image_size)
    options = {"img_size": image_size} if fixed and image_size else {}
    model = _create(name, weights, source, overlay, options, seed)
    if weights != RANDOM:
        _check_loaded(
            model, _create(name, RANDOM, source, overlay, options, seed), str(weights or name)
        )
    config = resolve_model_data_config(model, {"img_size": image_size} if image_size else None)
    tag = model.pretrained_cfg.get("tag")
    description = {
        "model": f"{PREFIX}{model.pretrained_cfg['architecture']}{f'.{tag}' if tag and weights != RANDOM else ''}",
        "weights": f"random, seed {seed}" if weights == RANDOM else weights_hash(model),
        "preprocess": plain(config),
    }
    model = model.eval().to(device)

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        features = model(pixels)
        if features.ndim != 2:
            raise usage(
                f"{name} gives no vector for a picture, but an array of shape {tuple(features.shape[1:])}",
                fix="another model",
            )
        return features

    return ImageEncoder(create_transform(**config, is_training=False), encode, description)


def _resolve(name: str, weights: str | None) -> tuple[str, dict[str, Any], bool]:
    """(timm's name of the model, changes to its config, whether its input size is built in)."""
    if weights not in (None, RANDOM) and not Path(str(weights)).is_file():
        raise usage("no such weights file", where=str(weights), fix="check the path")
    if not name.startswith(PREFIX):
        config = _folder_config(Path(name))
        # Older config.json do not say it, and timm then builds the model for another size and stretches its position embedding.
        fixed = bool(
            config.get("fixed_input_size", _default_config(config["architecture"]).fixed_input_size)
        )
        return f"local-dir:{name}", {**_overlay(weights), "fixed_input_size": fixed}, fixed
    name = name.removeprefix(PREFIX)
    architecture, tag = split_model_name_tag(name)
    configs = get_arch_pretrained_cfgs(architecture) if timm.is_model(architecture) else {}
    tags = {key.partition(".")[2]: config for key, config in configs.items()}
    if not configs or (tag and tag not in tags):
        known = (
            f"its weights are {', '.join(filter(None, tags))}"
            if tags
            else "python -c 'import timm; print(timm.list_pretrained())'"
        )
        raise usage(f"timm has no model {name!r}", fix=known)
    if weights != RANDOM and not tag and len(_preprocessings(tags.values())) > 1:
        raise bad_input(
            f"nothing says how {name} prepares its pictures: its {len(tags)} published weights differ in it",
            why="other sizes or means give other embeddings",
            fix=f"name one: {', '.join(f'{PREFIX}{name}.{tag}' for tag in sorted(tags)[:6])}",
        )
    chosen = tags[tag or next(iter(tags))]
    if weights not in (None, RANDOM) and not chosen.has_weights:
        raise bad_input(
            f"nothing says how the pictures for {weights} were prepared: timm knows no weights of {name}",
            why="other sizes or means give other embeddings",
            fix="give a folder with the weights and a config.json that says it",
        )
    return name, _overlay(weights), bool(chosen.fixed_input_size)


def _preprocessings(configs: Any) -> set[tuple]:
    return {
        tuple(str(getattr(config, key)) for key in (*PREPROCESS, "crop_pct", "crop_mode"))
        for config in configs
    }


def _overlay(weights: str | None) -> dict[str, Any]:
    if weights in (None, RANDOM):
        return {}
    return {"file": str(weights), "source": None, "custom_load": str(weights).endswith(".npz")}


def _folder_config(folder: Path) -> dict[str, Any]:
    """The part of a folder's ``config.json`` about preprocessing."""
    if not folder.is_dir():
        raise usage(
            f"no image encoder {str(folder)!r}",
            fix=f"{PREFIX}NAME, or a folder with config.json and weights",
        )
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = content.get("pretrained_cfg", content)
        missing = [key for key in PREPROCESS if not config.get(key)] + [
            key for key in ("architecture",) if key not in {**config, **content}
        ]
    except (OSError, ValueError, AttributeError) as error:
        raise bad_input(f"no readable config.json: {error}", where=str(folder)) from None
    if missing:
        raise bad_input(
            f"config.json does not say {', '.join(missing)}",
            where=str(folder),
            why="a guessed preprocessing gives other embeddings",
            fix="complete it from the model's card",
        )
    return {**content, **config}


def _default_config(architecture: str) -> Any:
    if not timm.is_model(architecture):
        raise usage(
            f"timm has no architecture {architecture!r}",
            fix="python -c 'import timm; print(timm.list_models())'",
        )
    return next(iter(get_arch_pretrained_cfgs(architecture).values()))


def _create(
    name: str,
    weights: str | None,
    source: str,
    overlay: dict[str, Any],
    options: dict[str, Any],
    seed: int,
) -> torch.nn.Module:
    torch.manual_seed(seed)
    try:
        return timm.create_model(
            source,
            pretrained=weights != RANDOM,
            num_classes=0,
            pretrained_cfg_overlay=overlay,
            **options,
        )
    except Exception as error:  # timm, torch, safetensors and the hub each have their own
        raise _told(error, name, weights) from None


def _check_loaded(model: torch.nn.Module, untouched: torch.nn.Module, where: str) -> None:
    """Refuses weights that leave a part of the model as it was made: without its classifier timm takes any file for any model."""
    random = {
        name: tensor
        for name, tensor in untouched.state_dict().items()
        if tensor.numel() > 1 and tensor.min() < tensor.max()
    }
    left = [
        name
        for name, tensor in model.state_dict().items()
        if name in random and torch.equal(tensor, random[name])
    ]
    if left:
        raise mismatch(
            f"the weights are not of this model: nothing for {', '.join(left[:5])}",
            where=where,
            fix="give its own weights",
        )


def _told(error: Exception, name: str, weights: str | None) -> UserError:
    reason = " ".join(str(error).split())[:300]
    if weights not in (None, RANDOM) or not name.startswith(PREFIX):
        return mismatch(
            f"the weights are not whole, or not of {name}: {reason}",
            where=str(weights or name),
            fix="give its own weights",
        )
    return bad_input(
        f"the weights of {name} cannot be had: {reason}",
        fix="--image-weights FILE, or a folder with config.json and weights as the name",
    )
