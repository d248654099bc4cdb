"""Features of image-text pairs from a model in training, for what validation measures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hardpairs.training.validation_data import ValidationBatches


@dataclass(frozen=True)
class Inference:
    """How a model runs.

    Attributes:
        device: Device of the model.
        input_dtype: Dtype of the images; ``None``: float32.
        autocast: Returns the context in which the model runs.
    """

    device: str
    input_dtype: torch.dtype | None
    autocast: Callable[[], AbstractContextManager[Any]]


@torch.no_grad()
def image_features(
    model: nn.Module, batches: ValidationBatches, inference: Inference
) -> torch.Tensor:
    """Return the (M, D) float32 unit features of the readable images, on the CPU.

    Args:
        model: The model, without wrappers and in evaluation mode.
        batches: The pairs; ``batches.rows`` are those of the features.
        inference: How the model runs.
    """
    return _features(model, batches, inference, with_texts=False)[0]


@torch.no_grad()
def pair_features(
    model: nn.Module, batches: ValidationBatches, inference: Inference
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the (M, D) float32 unit features of images and of captions, on the CPU.

    Args:
        model: The model, without wrappers and in evaluation mode.
        batches: The pairs; ``batches.rows`` are those of the features.
        inference: How the model runs.
    """
    image, text = _features(model, batches, inference, with_texts=True)
    return image, text


def _features(
    model: Any, batches: ValidationBatches, inference: Inference, *, with_texts: bool
) -> tuple[torch.Tensor, ...]:
    sides: list[list[torch.Tensor]] = [[] for _ in range(1 + with_texts)]
    for images, texts in batches:
        pixels = images.to(inference.device, inference.input_dtype)
        with inference.autocast():
            features = [model.encode_image(pixels, normalize=True)]
            if with_texts:
                features.append(model.encode_text(texts.to(inference.device), normalize=True))
        for side, rows in zip(sides, features, strict=True):
            side.append(rows.float().cpu())
    return tuple(map(torch.cat, sides))
