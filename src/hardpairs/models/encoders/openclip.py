"""Any OpenCLIP model, checkpoints of ours included."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from hardpairs.core.errors import usage
from hardpairs.models.encoders.base import Encoders, ImageEncoder, TextEncoder, weights_hash
from hardpairs.models.load import Encoder, load_encoder
from hardpairs.models.model_config import uses_words, vocabulary_of

RANDOM = "none"
"""The name of seeded random weights."""


def open_openclip(
    model: str,
    pretrained: str | None,
    *,
    device: str,
    seed: int = 0,
    captions: Iterable[str] = (),
    resize_mode: str | None = None,
) -> Encoders:
    """A model by OpenCLIP's name, or one of ours (``hardpairs-*``), with a checkpoint file, a tag, or ``none``: seeded random weights.

    A model of ours with random weights takes its words from ``captions``.

    Raises:
        UserError: exit 2 for unknown names or none given, exit 3 when the weights cannot be had, exit 4 for a torn or foreign checkpoint.
    """
    if pretrained is None:
        raise usage(
            f"--model {model} needs its weights",
            why="without them it would be a random model",
            fix=f"--pretrained FILE or an OpenCLIP tag; --pretrained {RANDOM} for random weights, to try things out",
        )
    if pretrained != RANDOM:
        return from_encoder(
            load_encoder(model, pretrained, device=device, resize_mode=resize_mode), device
        )
    words = vocabulary_of(model, captions) if uses_words(model) else None
    return from_encoder(
        load_encoder(
            model, None, device=device, seed=seed, vocabulary=words, resize_mode=resize_mode
        ),
        device,
    )


def from_encoder(encoder: Encoder, device: str) -> Encoders:
    """Both halves of a loaded model."""
    description = dict(encoder.description)
    if description["weights"].startswith("tag:"):  # what a tag names can change
        description["weights"] += f" {weights_hash(encoder.model)}"

    def encode_text(tokens: torch.Tensor) -> torch.Tensor:
        return encoder.model.encode_text(tokens.to(device, non_blocking=True))

    return Encoders(
        ImageEncoder(encoder.transform, encoder.model.encode_image, description),
        TextEncoder(
            encoder.tokenizer,
            encode_text,
            {**description, "preprocess": {"tokenizer": description["model"]}},
        ),
        one_space=True,
    )
