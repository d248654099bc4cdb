"""A second data set that a run measures with its validation: what the model could do before."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import nn

from hardpairs.core.atomic import append_text
from hardpairs.data.class_folders import class_names, class_of
from hardpairs.data.image_folder import is_image_folder
from hardpairs.data.samples import Samples
from hardpairs.metrics.base import MetricInputs, compute_metrics
from hardpairs.metrics.classify import accuracy
from hardpairs.models.prompts import prompt_names
from hardpairs.training.logs import WATCH, read_validation, watched
from hardpairs.training.measuring import Inference, image_features, pair_features
from hardpairs.training.validation_data import PairDataset, ValidationBatches


class Watch:
    """Zero-shot accuracy on class folders, or retrieval on pairs.

    Args:
        samples: The data set. A folder of images in class folders, without captions, is
            classified by the names of the classes with OpenCLIP's 80 templates.
        transform: The model's transform.
        tokenizer: The model's tokenizer.
        batch_size: Rows per batch.
        workers: Worker processes.
        inference: How the model runs.
    """

    def __init__(
        self,
        samples: Samples,
        transform: Callable[[Any], torch.Tensor],
        tokenizer: Callable[[list[str]], torch.Tensor],
        *,
        batch_size: int,
        workers: int,
        inference: Inference,
    ) -> None:
        self.samples, self._tokenizer, self._inference = samples, tokenizer, inference
        pairs = PairDataset(samples, transform, tokenizer)
        self._batches = ValidationBatches(pairs, batch_size, workers)
        self.is_zero_shot = _is_classes(samples)

    def numbers(self, model: nn.Module) -> dict[str, float]:
        """Return the numbers by name, with ``WATCH``.

        Args:
            model: The model, without wrappers; it is left in evaluation mode.
        """
        model.eval()
        numbers = self._accuracy(model) if self.is_zero_shot else self._retrieval(model)
        return {f"{WATCH}{name}": value for name, value in numbers.items()}

    def _retrieval(self, model: nn.Module) -> dict[str, float]:
        image, text = (
            side.numpy() for side in pair_features(model, self._batches, self._inference)
        )
        inputs = MetricInputs.of_samples(self.samples, self._batches.rows, image, text)
        return compute_metrics(inputs, ["retrieval"])

    def _accuracy(self, model: nn.Module) -> dict[str, float]:
        names = class_names(self.samples)
        with self._inference.autocast(), torch.no_grad():
            classifier = open_clip.build_zero_shot_classifier(
                model,
                self._tokenizer,
                prompt_names(names, self.samples.source),
                open_clip.OPENAI_IMAGENET_TEMPLATES,
                num_classes_per_batch=10,
                device=self._inference.device,
            )
        rows = image_features(model, self._batches, self._inference).numpy()
        number_of = {name: number for number, name in enumerate(names)}
        labels = [number_of[class_of(self.samples, row)] for row in self._batches.rows]
        return accuracy(rows @ classifier.float().cpu().numpy(), np.array(labels))


def _is_classes(samples: Samples) -> bool:
    """Return whether all images are in class folders and have no captions."""
    is_folder = is_image_folder(samples.source)
    return is_folder and bool(samples.labelled.all()) and len(class_names(samples)) > 1


def write_start(results: Path, numbers: dict[str, float]) -> None:
    """Add what the start model could do to a run's ``results.jsonl``, as epoch 0."""
    results.parent.mkdir(parents=True, exist_ok=True)
    append_text(results, json.dumps({"epoch": 0, **numbers}) + "\n")


def log_change(results: Path) -> None:
    """Log how a run's watch stands against the start model.

    Args:
        results: The run's ``results.jsonl``.
    """
    measured = [entry for entry in read_validation(results) if watched(entry) is not None]
    if len(measured) > 1 and measured[0]["epoch"] == 0:
        start, now = watched(measured[0]), watched(measured[-1])
        epoch = int(measured[-1]["epoch"])
        logging.info(f"Watch: {now:.4f} after epoch {epoch}, {start:.4f} at the start.")
