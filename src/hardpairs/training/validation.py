"""Metrics of validation data beside OpenCLIP's, the best epoch by one of them, and early ends."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
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
from hardpairs.metrics.groups import first_of_each, groups_of_rows, groups_text, shared_items
from hardpairs.models.checkpoint import HEAD
from hardpairs.models.weight_files import save_checkpoint
from hardpairs.training.config import VALIDATION_LOSS
from hardpairs.training.logs import read_validation

BEST = "best.pt"
"""Name of the best epoch's checkpoint."""


def check_val_labels(metric: str, samples: Samples, *, with_captions: bool = False) -> None:
    """Check that validation data has the labels that a metric needs.

    Args:
        metric: Name of the metric.
        samples: The validation data.
        with_captions: Whether captions are a part of what is compared.

    Raises:
        UserError: Exit 3 when no two images share a label.
    """
    ids = [samples.groups, samples.images, *([samples.texts] if with_captions else [])]
    items = first_of_each(*(each[samples.labelled] for each in ids))
    repeat = len(np.unique(samples.groups[samples.labelled])) < len(items)
    if metric in all_values(needs_labels=True) and not repeat:
        raise bad_input(
            f"no two validation images share a label, which {metric} needs",
            where=samples.source,
            fix="name the column of labels",
        )


def log_groups(samples: Samples, rows: Sequence[int]) -> None:
    """Log which rows of validation data count as right for each other.

    Args:
        samples: The validation data.
        rows: Its usable rows.
    """
    ids = [each[list(rows)] for each in (samples.groups, samples.images, samples.texts)]
    groups, text_groups = groups_of_rows(ids[0], ids[2])
    texts = first_of_each(ids[0], ids[2])
    text = groups_text(
        len(first_of_each(*ids[:2])),
        len(texts),
        len(np.unique(groups)),
        int(shared_items(text_groups[texts]).sum()),
    )
    logging.info(f"Validation: {text}.")


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
    joint = None
    head = getattr(getattr(model, "module", model), HEAD, None)
    if head is not None:
        device = next(model.parameters()).device
        joint = head(image.to(device).float(), text.to(device).float()).cpu()
    arrays = [None if part is None else part.float().numpy() for part in (image, text, joint)]
    return compute_all(MetricInputs.of_samples(samples, rows, *arrays))  # type: ignore[arg-type]


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
    measured = {
        int(entry["epoch"]): entry[metric]
        for entry in read_validation(results)
        if (completed is None or entry["epoch"] <= completed)
        and math.isfinite(entry.get(metric, math.nan))
    }
    if not measured:
        return None
    sign = 1 if _lower_is_better(metric) else -1
    best = min(measured, key=lambda epoch: (sign * measured[epoch], epoch))
    return BestEpoch(best, measured[best], sum(epoch > best for epoch in measured))


def is_measured(folder: Path, epoch: int) -> bool:
    """Return whether an epoch's validation data was measured.

    Args:
        folder: The run's folder of checkpoints.
        epoch: The epoch, from 1.
    """
    return any(entry["epoch"] == epoch for entry in read_validation(folder / "results.jsonl"))


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
        save_checkpoint(content, folder / BEST)
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
