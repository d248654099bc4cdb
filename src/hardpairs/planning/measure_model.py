"""Measure the constants of a model and of the loss."""

from __future__ import annotations

import gc
from typing import Any

import torch
from open_clip import ClipLoss
from torch import nn

from hardpairs.models.create import create_model_and_transforms
from hardpairs.models.model_config import make_tokenizer
from hardpairs.planning.machine import EncoderRates, LossRates
from hardpairs.planning.measure_mining import processor_seconds
from hardpairs.planning.resident import peak_bytes, resident_bytes, start_peak
from hardpairs.planning.training_cost import COPIES

BATCH = 16
WORDS = ["what", "an", "image", "shows"]
"""A caption, and the vocabulary of a model that reads words."""
LOSS_BATCH, LOSS_WIDTHS = 1024, (64, 512)


def measure_loss(batch: int = LOSS_BATCH, repeats: int = 3) -> LossRates:
    """Return the constants of CLIP's loss, from two widths."""
    loss, scale = ClipLoss(), torch.tensor(10.0)
    seconds = []
    for width in LOSS_WIDTHS:
        rows = torch.nn.functional.normalize(torch.randn(2, batch, width), dim=2)
        image, text = (side.clone().requires_grad_() for side in rows)

        def step(image: torch.Tensor = image, text: torch.Tensor = text) -> None:
            torch.autograd.backward(loss(image, text, scale))

        seconds.append(processor_seconds(step, repeats))
    component = max(seconds[1] - seconds[0], 0.0) / (LOSS_WIDTHS[1] - LOSS_WIDTHS[0]) / batch**2
    pair = max(seconds[0] / batch**2 - LOSS_WIDTHS[0] * component, 0.0)
    return LossRates(pair, component)


def measure_encoder(name: str, batch: int = BATCH, repeats: int = 3) -> EncoderRates:
    """Return the constants of a model with random weights, on random pixels.

    Args:
        name: A model of OpenCLIP or of ours.
        batch: Pairs of a batch.
        repeats: Times that a batch is measured; the median counts.

    Raises:
        UserError: Exit 2 for an unknown name.
    """
    gc.collect()
    before = resident_bytes()
    model: Any = create_model_and_transforms(name, vocabulary=WORDS)[0]
    size = model.visual.image_size
    images = torch.randn(batch, 3, *(size if isinstance(size, tuple) else (size, size)))
    texts = make_tokenizer(name, WORDS)([" ".join(WORDS)] * batch)
    parameters = sum(weights.numel() for weights in model.parameters())
    widths: list[int] = []

    def embed() -> None:
        with torch.inference_mode():
            widths[:] = [
                model.encode_image(images).shape[1],
                model.encode_text(texts).shape[1],
            ]

    start_peak()
    model.eval()
    embedding = processor_seconds(embed, repeats) / batch
    embedding_bytes = (peak_bytes() - before) / batch - 4 * parameters / batch
    training = _training_seconds(model, images, texts, repeats) / batch
    training_bytes = (peak_bytes() - before) / batch - COPIES * 4 * parameters / batch
    return EncoderRates(
        model=name,
        image_width=widths[0],
        text_width=widths[1],
        parameters=parameters,
        embedding=embedding,
        training=training,
        embedding_bytes=max(embedding_bytes, 0.0),
        training_bytes=max(training_bytes, 0.0),
    )


def _training_seconds(model: Any, images: torch.Tensor, texts: torch.Tensor, repeats: int) -> float:
    model.train()
    optimizer = torch.optim.AdamW(nn.Module.parameters(model))

    def step() -> None:
        optimizer.zero_grad()
        features = model.encode_image(images), model.encode_text(texts)
        torch.autograd.backward([side.square().sum() for side in features])
        optimizer.step()

    return processor_seconds(step, repeats)
