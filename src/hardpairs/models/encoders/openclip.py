"""Any OpenCLIP model, checkpoints of ours included."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from hardpairs.core.components import Options, option, register
from hardpairs.core.errors import usage
from hardpairs.models.encoders import RANDOM
from hardpairs.models.encoders.base import (
    EncoderContext,
    Encoders,
    ImageEncoder,
    TextEncoder,
    weights_hash,
)
from hardpairs.models.load import Encoder, load_encoder
from hardpairs.models.memory_format import order_for_inference
from hardpairs.models.model_config import uses_words, vocabulary_of
from hardpairs.models.model_folder import folder_weights, needs_weights

PROJECTIONS = ("head", "proj", "text_projection")
"""Names of the projection in OpenCLIP's towers: of timm, of its own and Hugging Face, of its text
towers, whose calls skip one that is ``None``."""
WITHOUT_PROJECTION = " without projection"
"""Ends the model's name in a manifest of features from before the projections."""


@register("openclip")
class OpenCLIPEncoders(Encoders):
    """Both halves of an OpenCLIP model, or of one of ours."""

    @dataclass(frozen=True)
    class Config(Options):
        """Options of an OpenCLIP model."""

        name: str = option("", "OpenCLIP model, or hardpairs-*, miniclip-*", flag="--model")
        pretrained: str | None = option(
            None,
            "its checkpoint file or OpenCLIP tag (default: the weights in local-dir:FOLDER); "
            "none: random weights, to try things out",
        )
        resize_mode: str | None = option(
            None,
            "how images become squares: cut, padded, stretched (default: the model's own)",
            flag="--image-resize-mode",
            choices=("shortest", "longest", "squash"),
        )
        seed: int = option(0, "seed of random weights", minimum=0)
        without_projection: bool = option(
            False, "features of the towers, before their projections into one space"
        )

    @classmethod
    def from_config(cls, config: Config, context: EncoderContext) -> Encoders:
        """Load the model. One of ours with random weights takes its words from the captions.

        Raises:
            UserError: Exit 2 for unknown names or missing weights, exit 3 when the weights cannot
                be had, exit 4 for a torn or foreign checkpoint.
        """
        weights = config.pretrained or folder_weights(config.name)
        if weights is None:
            raise needs_weights(
                config.name, f"`pretrained` {RANDOM} for random weights, to try things out"
            )
        words = None
        if config.pretrained == RANDOM:
            weights = None
            if folder_weights(config.name):
                raise usage(
                    f"`pretrained` {RANDOM} is random weights, and {config.name} holds its own",
                    fix="leave it out",
                )
            words = (
                vocabulary_of(config.name, context.captions) if uses_words(config.name) else None
            )
        encoder = load_encoder(
            config.name,
            weights,
            device=context.device,
            seed=config.seed,
            vocabulary=words,
            resize_mode=config.resize_mode,
        )
        if not config.without_projection:
            return from_encoder(encoder, context.device)
        remove_projections(encoder.model, config.name)
        encoder.description["model"] += WITHOUT_PROJECTION
        return replace(from_encoder(encoder, context.device), one_space=False)


def remove_projections(model: nn.Module, name: str) -> None:
    """Make a model return the features of its towers, before their projections into one space.

    Args:
        model: An OpenCLIP model; changed in place.
        name: Its name, for the message.

    Raises:
        UserError: Exit 2 for a tower whose projection is no part of its own.
    """
    for tower in (getattr(model, "visual", None), getattr(model, "text", model)):
        found = [part for part in PROJECTIONS if getattr(tower, part, None) is not None]
        if not found:
            raise usage(
                f"`without_projection` does not work with {name}",
                why="one of its towers has no projection that can be left out",
                fix="leave it out",
            )
        is_called = found[0] != "text_projection" and isinstance(
            getattr(tower, found[0]), nn.Module
        )
        setattr(tower, found[0], nn.Identity() if is_called else None)


def from_encoder(encoder: Encoder, device: str) -> Encoders:
    """Return both halves of a loaded model, whose weights are laid out for speed."""
    order_for_inference(encoder.model, device)
    description = dict(encoder.description)
    if description["weights"].startswith("tag:"):  # what a tag names can change
        description["weights"] += f" {weights_hash(encoder.model)}"

    model: Any = encoder.model

    def encode_text(tokens: torch.Tensor) -> Any:
        return model.encode_text(tokens.to(device, non_blocking=True))

    text_description = {**description, "preprocess": {"tokenizer": description["model"]}}
    return Encoders(
        ImageEncoder(encoder.transform, model.encode_image, description),
        TextEncoder(encoder.tokenizer, encode_text, text_description),
        one_space=True,
    )
