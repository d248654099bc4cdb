"""Any timm image model: its pooled features (no class logits), with its own preprocessing.

timm/vit_small_patch14_reg4_dinov2.lvd142m      timm's weights, from its cache or the hub
timm/vit_small_patch14_reg4_dinov2.lvd142m      and a local file of them (image_weights)
path/to/folder                                  config.json and weights, as timm and the hub save
                                                them; nothing is fetched
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import create_transform, resolve_model_data_config  # type: ignore[attr-defined]
from timm.models import get_arch_pretrained_cfgs, split_model_name_tag

from hardpairs.core.components import Options, option, register
from hardpairs.core.errors import UserError, bad_input, mismatch, usage
from hardpairs.core.parse import parse_json
from hardpairs.models.checkpoint import verify_weights
from hardpairs.models.download import fetching
from hardpairs.models.encoders import RANDOM
from hardpairs.models.encoders.base import EncoderContext, ImageEncoder, plain, weights_hash
from hardpairs.models.memory_format import order_for_inference

PREFIX = "timm/"
PREPROCESS = ("input_size", "interpolation", "mean", "std")
"""Entries that a model's config must have; timm would fill in ImageNet's."""


@register("timm")
class TimmEncoder(ImageEncoder):
    """The pooled features of a timm image model."""

    @dataclass(frozen=True)
    class Config(Options):
        """Options of a timm model."""

        name: str = option(
            "",
            "timm/ARCHITECTURE.TAG, or a folder with config.json and weights",
            flag="--image-encoder",
        )
        image_weights: str | None = option(
            None, "a local file of its weights; none: random ones (default: timm's own)"
        )
        image_size: int | None = option(
            None, "pixels of its input, where it is not to be the model's own", minimum=1
        )
        image_crop: float | None = option(
            None,
            "share of the resized image's side that the center crop keeps, where it is not to be "
            "the model's own",
            above=0,
            maximum=1,
        )
        seed: int = option(0, "seed of random weights", minimum=0)

    @classmethod
    def from_config(cls, config: Config, context: EncoderContext) -> TimmEncoder:
        """Load the model as a feature extractor.

        Raises:
            UserError: Exit 2 for an unknown name, exit 3 when the weights cannot be had or nothing
                says how images must be prepared, exit 4 for weights of another model.
        """
        name, weights, image_size = config.name, config.image_weights, config.image_size
        source, overlay, fixed = _resolve(name, weights)
        if weights != RANDOM and Path(weights or name).exists():
            verify_weights(weights or name)
        if image_size is not None:
            overlay["input_size"] = (3, image_size, image_size)
        options = {"img_size": image_size} if fixed and image_size else {}
        is_fetched = weights is None and name.startswith(PREFIX)
        weights_config = timm.get_pretrained_cfg(source) if is_fetched else None
        repository = getattr(weights_config, "hf_hub_id", None)  # some weights are elsewhere
        files = ("model.safetensors", "pytorch_model.bin")
        with fetching(repository, files) if repository else nullcontext():
            model: Any = _create(name, weights, source, overlay, options, config.seed)
        if weights != RANDOM:
            untouched = _create(name, RANDOM, source, overlay, options, config.seed)
            _check_loaded(model, untouched, str(weights or name))
        changes = {"img_size": image_size, "crop_pct": config.image_crop}
        data_config = resolve_model_data_config(  # type: ignore[no-untyped-call]
            model, {name: value for name, value in changes.items() if value is not None}
        )
        architecture, tag = (model.pretrained_cfg.get(key) for key in ("architecture", "tag"))
        suffix = f".{tag}" if tag and weights != RANDOM else ""
        description = {
            "model": f"{PREFIX}{architecture}{suffix}",
            "weights": f"random, seed {config.seed}" if weights == RANDOM else weights_hash(model),
            "preprocess": plain(data_config),
        }
        model = model.eval().to(context.device)
        order_for_inference(model, context.device)

        def encode(pixels: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = model(pixels)
            if features.ndim != 2:
                raise usage(
                    f"{name} gives no vector for an image, but an array of shape "
                    f"{tuple(features.shape[1:])}",
                    fix="choose another model",
                )
            return features

        return cls(create_transform(**data_config, is_training=False), encode, description)


def _resolve(name: str, weights: str | None) -> tuple[str, dict[str, Any], bool]:
    """Return timm's name of the model, changes to its config, and if its input size is fixed."""
    if weights not in (None, RANDOM) and not Path(str(weights)).is_file():
        raise usage("no such weights file", where=str(weights), fix="check the path")
    if not name.startswith(PREFIX):
        config = _folder_config(Path(name))
        # An older config.json does not say it; timm then builds the model for another size and
        # stretches its position embedding.
        default = _default_config(config["architecture"]).fixed_input_size
        fixed = bool(config.get("fixed_input_size", default))
        return f"local-dir:{name}", {**_overlay(weights), "fixed_input_size": fixed}, fixed
    name = name.removeprefix(PREFIX)
    architecture, tag = split_model_name_tag(name)
    configs = get_arch_pretrained_cfgs(architecture) if timm.is_model(architecture) else {}
    tags = {key.partition(".")[2]: config for key, config in configs.items()}
    if not configs or (tag and tag not in tags):
        choices = (
            f"its weights are {', '.join(filter(None, tags))}"
            if tags
            else "python -c 'import timm; print(timm.list_pretrained())'"
        )
        raise usage(f"timm has no model {name!r}", fix=choices)
    if weights != RANDOM and not tag and len(_preprocessings(tags.values())) > 1:
        raise bad_input(
            f"nothing says how {name} prepares its images: its {len(tags)} weights differ in it",
            why="other sizes or means give other embeddings",
            fix=f"name one: {', '.join(f'{PREFIX}{name}.{tag}' for tag in sorted(tags)[:6])}",
        )
    chosen = tags[tag or next(iter(tags))]
    if weights not in (None, RANDOM) and not chosen.has_weights:
        raise bad_input(
            f"nothing says how the images for {weights} were prepared: timm knows no weights of "
            f"{name}",
            why="other sizes or means give other embeddings",
            fix="give a folder with the weights and a config.json that says it",
        )
    return name, _overlay(weights), bool(chosen.fixed_input_size)


def _preprocessings(configs: Iterable[Any]) -> set[tuple[str, ...]]:
    return {
        tuple(str(getattr(config, key)) for key in (*PREPROCESS, "crop_pct", "crop_mode"))
        for config in configs
    }


def _overlay(weights: str | None) -> dict[str, Any]:
    if weights in (None, RANDOM):
        return {}
    return {"file": str(weights), "source": None, "custom_load": str(weights).endswith(".npz")}


def _folder_config(folder: Path) -> dict[str, Any]:
    """Return what a folder's ``config.json`` says about preprocessing."""
    if not folder.is_dir():
        raise usage(
            f"no image encoder {str(folder)!r}",
            fix=f"{PREFIX}NAME, or a folder with config.json and weights",
        )
    try:
        content = parse_json((folder / "config.json").read_text(encoding="utf-8"))
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
        raise _load_error(error, name, weights) from None


def _check_loaded(model: torch.nn.Module, untouched: torch.nn.Module, where: str) -> None:
    """Refuse weights that leave a part of the model untouched.

    Without its classifier, timm takes any file for any model.
    """
    random = {
        name: tensor
        for name, tensor in untouched.state_dict().items()
        if tensor.numel() > 1 and tensor.min() < tensor.max()
    }
    left_out = [
        name
        for name, tensor in model.state_dict().items()
        if name in random and torch.equal(tensor, random[name])
    ]
    if left_out:
        raise mismatch(
            f"the weights are not of this model: nothing for {', '.join(left_out[:5])}",
            where=where,
            fix="give its own weights",
        )


def _load_error(error: Exception, name: str, weights: str | None) -> UserError:
    reason = " ".join(str(error).split())[:300]
    if weights not in (None, RANDOM) or not name.startswith(PREFIX):
        return mismatch(
            f"the weights are not whole, or not of {name}: {reason}",
            where=str(weights or name),
            fix="give its own weights",
        )
    return bad_input(
        f"the weights of {name} cannot be had: {reason}",
        fix="`image_weights` FILE, or a folder with config.json and weights as the name",
    )
