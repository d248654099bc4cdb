"""What an encoder is: a half for pictures, a half for captions, and what identifies them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class ImageEncoder:
    """Embeds pictures.

    Attributes:
        transform: an RGB image to a (3, H, W) float tensor; runs in the loading processes.
        encode: (B, 3, H, W) pixels on any device to (B, D) features of any length.
        description: ``model``, ``weights`` (a hash), ``preprocess``.
    """

    transform: Callable[[Any], torch.Tensor]
    encode: Callable[[torch.Tensor], torch.Tensor]
    description: dict[str, Any]


@dataclass(frozen=True)
class TextEncoder:
    """Embeds captions.

    Attributes:
        prepare: B captions to what ``encode`` reads; runs in the loading processes.
        encode: that to (B, D) features of any length.
        description: ``model``, ``weights`` (a hash), ``preprocess``.
    """

    prepare: Callable[[list[str]], Any]
    encode: Callable[[Any], torch.Tensor]
    description: dict[str, Any]


@dataclass(frozen=True)
class Encoders:
    """The two halves; ``one_space`` where an image and a caption may be compared with each other, as in a CLIP model."""

    image: ImageEncoder
    text: TextEncoder
    one_space: bool

    @property
    def description(self) -> dict[str, Any]:
        """What identifies the embeddings, for a manifest."""
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
    """``sha256:`` of all weights by name, type and shape: the same whatever file or hub they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return f"sha256:{digest.hexdigest()}"


def plain(value: Any) -> Any:
    """Tuples as lists, as JSON gives them back."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value
