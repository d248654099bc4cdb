"""Metrics of validation data beside OpenCLIP's, the best epoch by one of them, and early ends."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hardpairs.core.errors import bad_input
from hardpairs.data.samples import Samples
from hardpairs.metrics import all_values, lower_is_better
from hardpairs.metrics.base import MetricInputs, compute_all
from hardpairs.models.checkpoint import HEAD
from hardpairs.training import upstream
from hardpairs.training.config import VALIDATION_LOSS

BEST = "best.pt"
"""Name of the best epoch's checkpoint."""


def check_val_labels(metric: str, samples: Samples) -> None:
    """Check that validation data has the labels that a metric needs.

    Raises:
        UserError: Exit 3 when no two rows share a label.
    """
    labels = samples.groups[samples.labelled]
    if metric in all_values(needs_labels=True) and len(np.unique(labels)) == len(labels):
        raise bad_input(
            f"no two validation rows share a label, which {metric} needs",
            where=samples.source,
            fix="name the column of labels",
        )


@torch.no_grad()
def val_numbers(
    model: nn.Module, samples: Samples, rows: list[int], image: torch.Tensor, text: torch.Tensor
) -> dict[str, float]:
    """Compute all metrics of ``hardpairs.metrics`` on the rows of a validation data set.

    They know what OpenCLIP's do not: which rows show the same thing, and labels. Retrieval has
    OpenCLIP's names and replaces its numbers. Metrics of labels use the output of the head; without
    one, the image.

    Args:
        model: The model, which may carry a head.
        samples: The validation data set.
        rows: Its rows, of which the features are.
        image: (M, D) float32 unit features, on the CPU.
        text: (M, D) float32 unit features, on the CPU.

    Returns:
        Numbers by name.
    """
    joint = image
    head = getattr(getattr(model, "module", model), HEAD, None)
    if head is not None:
        device = next(model.parameters()).device
        joint = head(image.to(device).float(), text.to(device).float()).cpu()
    inputs = MetricInputs(
        image=image.float().numpy(),
        text=text.float().numpy(),
        joint=joint.float().numpy(),
        group_ids=samples.groups[rows],
        has_label=samples.labelled[rows],
        image_ids=samples.images[rows],
        text_ids=samples.texts[rows],
    )
    return compute_all(inputs)


def _lower_is_better(metric: str) -> bool:
    return metric == VALIDATION_LOSS or lower_is_better(metric)


@dataclass(frozen=True)
class BestEpoch:
    """The best epoch of a run so far.

    Attributes:
        epoch: Its number; the first of equal ones.
        value: Its metric.
        since: How many later epochs were measured.
    """

    epoch: int
    value: float
    since: int


def best_epoch(results: Path, metric: str, completed: int | None = None) -> BestEpoch | None:
    """Return the best epoch by a run's ``results.jsonl``; ``None`` before anything was measured.

    A repeated epoch counts by its last line. A line that a kill cut off, and a metric that is not
    finite, do not count.

    Args:
        results: The file.
        metric: Name of the metric.
        completed: Later epochs are ignored: they belong to a run that died after measuring and
            before saving.
    """
    measured: dict[int, float] = {}
    for line in results.read_text(encoding="utf-8").splitlines() if results.is_file() else []:
        try:
            entry: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        is_done = completed is None or entry["epoch"] <= completed
        if is_done and math.isfinite(entry.get(metric, math.nan)):
            measured[entry["epoch"]] = entry[metric]
    if not measured:
        return None
    sign = 1 if _lower_is_better(metric) else -1
    best = min(measured, key=lambda epoch: (sign * measured[epoch], epoch))
    return BestEpoch(best, measured[best], sum(epoch > best for epoch in measured))


def keep_best(folder: Path, metric: str, checkpoint: dict[str, Any]) -> None:
    """Save a checkpoint as ``best.pt`` when its epoch is the best so far.

    Args:
        folder: The run's folder of checkpoints.
        metric: Name of the metric.
        checkpoint: The checkpoint; ``epoch`` is its epoch.
    """
    best = best_epoch(folder / "results.jsonl", metric, checkpoint["epoch"])
    if best is not None and best.epoch == checkpoint["epoch"]:
        content = {**checkpoint, "best": {"metric": metric, "value": best.value}}
        upstream.patched("file_utils").pt_save(content, str(folder / BEST))
        logging.info(f"Best so far: {metric} {best.value:.4f} after epoch {best.epoch}.")


def is_over(folder: Path, metric: str, patience: int, completed: int) -> bool:
    """Return whether ``patience`` measured epochs have brought nothing better.

    Args:
        folder: The run's folder of checkpoints.
        metric: Name of the metric.
        patience: Epochs.
        completed: The last epoch that counts.
    """
    best = best_epoch(folder / "results.jsonl", metric, completed)
    over = best is not None and best.since >= patience
    if best is not None and over:
        logging.info(
            f"{metric} has not improved for {best.since} epochs; the run ends. "
            f"Best: epoch {best.epoch}, {BEST}."
        )
    return over
