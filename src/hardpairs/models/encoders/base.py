"""Encoders: a half for images, a half for captions, and their descriptions.

A component of the registry is a subclass of one of these classes with a ``Config`` and a class
method ``from_config(config, context)`` that returns an instance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class EncoderContext:
    """The inputs of an encoder besides its options.

    Attributes:
        device: Where it runs.
        captions: Captions of the data, where a model without weights takes its words from.
    """

    device: str = "cpu"
    captions: Iterable[str] = ()


@dataclass(frozen=True)
class ImageEncoder:
    """Embeds images.

    Attributes:
        transform: Turns an RGB image into a (3, H, W) float tensor; runs in the loading processes.
        encode: Turns (B, 3, H, W) pixels on any device into (B, D) features of any length.
        description: ``model``, ``weights`` (a hash) and ``preprocess``, for a manifest.
    """

    transform: Callable[[Any], torch.Tensor]
    encode: Callable[[torch.Tensor], torch.Tensor]
    description: dict[str, Any]


@dataclass(frozen=True)
class TextEncoder:
    """Embeds captions.

    Attributes:
        prepare: Turns B captions into what ``encode`` reads; runs in the loading processes.
        encode: Turns that into (B, D) features of any length.
        description: ``model``, ``weights`` (a hash) and ``preprocess``, for a manifest.
    """

    prepare: Callable[[list[str]], Any]
    encode: Callable[[Any], torch.Tensor]
    description: dict[str, Any]


@dataclass(frozen=True)
class Encoders:
    """The two halves.

    Attributes:
        image: Embeds images.
        text: Embeds captions.
        one_space: An image and a caption may be compared with each other, as in a CLIP model.
    """

    image: ImageEncoder
    text: TextEncoder
    one_space: bool

    @property
    def description(self) -> dict[str, Any]:
        """Return what identifies the embeddings, for a manifest."""
        if self.one_space:
            return self.image.description
        image, text = self.image.description, self.text.description
        return {
            "model": f"{image['model']} + {text['model']}",
            "weights": f"{image['weights']} + {text['weights']}",
            "preprocess": image["preprocess"],
            "text_preprocess": text["preprocess"],
            "one_space": False,
        }


def weights_hash(model: nn.Module) -> str:
    """Return ``sha256:`` and the hash of all weights by name, type and shape.

    It does not depend on the file or hub that they came from.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return f"sha256:{digest.hexdigest()}"


def plain(value: Any) -> Any:
    """Return a value with its tuples as lists, as JSON gives them back."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value
