"""Metrics on validation data beside OpenCLIP's, the best epoch by one of them, and the end of a run that no longer gets better."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hardpairs.core.errors import bad_input, usage
from hardpairs.data.samples import Samples
from hardpairs.metrics.base import MetricInputs, all_values, compute_all, lower_is_better
from hardpairs.models.checkpoint import HEAD
from hardpairs.training import upstream

VALIDATION_LOSS = "clip_val_loss"
"""OpenCLIP's own metric; all others are components of ``hardpairs.metrics``."""
BEST = "best.pt"


def metric_names() -> tuple[str, ...]:
    """Return the numbers that may choose the best epoch."""
    return (*all_values(), VALIDATION_LOSS)


def check_validation(args: argparse.Namespace) -> None:
    """Raises UserError (exit 2) for flags that have no effect or cannot work."""
    if args.patience is not None and not args.save_best:
        raise usage(
            "--patience counts epochs without a better metric",
            fix=f"--save-best {' or '.join(('mean_R@1', *all_values(needs_labels=True)))}",
        )
    if args.patience is not None and args.patience < 1:
        raise usage(f"--patience must be at least 1, not {args.patience}")
    if args.save_best and not (args.val_data and args.val_frequency):
        raise usage(
            "--save-best chooses by validation data, and there is none",
            fix="--val-data, with --val-frequency from 1 on",
        )
    if args.save_best and (not args.logs or args.logs.lower() == "none"):
        raise usage("--save-best reads what the run wrote down", fix="--logs FOLDER")


def check_val_labels(args: argparse.Namespace, samples: Samples) -> None:
    """Raises UserError (exit 3) when ``--save-best`` needs labels that validation data does not have."""
    labels = samples.groups[samples.labelled]
    if args.save_best in all_values(needs_labels=True) and len(np.unique(labels)) == len(labels):
        raise bad_input(
            f"no two validation rows share a label, which {args.save_best} needs",
            where=samples.source,
            fix="--csv-label-key",
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
    image, text, joint = (side.float().numpy() for side in (image, text, joint))
    inputs = MetricInputs(
        image,
        text,
        joint,
        group_ids=samples.groups[rows],
        has_label=samples.labelled[rows],
        image_ids=samples.images[rows],
        text_ids=samples.texts[rows],
    )
    return compute_all(inputs)


def _lower_is_better(metric: str) -> bool:
    return metric == VALIDATION_LOSS or lower_is_better(metric)


@dataclass(frozen=True)
class Progress:
    """Where a run stands by its metric: the best epoch (the first of equal ones), and how many later epochs were measured."""

    best: int
    value: float
    since: int


def progress(args: argparse.Namespace, completed: int | None = None) -> Progress | None:
    """Reads a run's ``results.jsonl``; ``None`` before anything was measured. A repeated epoch counts by its last line; a line that a kill cut off, and
    a metric that is no number, do not count.

    Args:
        completed: epochs after it are not looked at: they are of a run that died after measuring and before saving.
    """
    path = Path(args.checkpoint_path) / "results.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    measured: dict[int, float] = {}
    for line in lines:
        try:
            entry: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        if math.isfinite(entry.get(args.save_best, math.nan)) and (
            completed is None or entry["epoch"] <= completed
        ):
            measured[entry["epoch"]] = entry[args.save_best]
    if not measured:
        return None
    sign = 1 if _lower_is_better(args.save_best) else -1
    best = min(measured, key=lambda epoch: (sign * measured[epoch], epoch))
    return Progress(best, measured[best], sum(epoch > best for epoch in measured))


def keep_best(args: argparse.Namespace, checkpoint: dict[str, Any]) -> None:
    """Saves a checkpoint as ``best.pt`` when its epoch is the best so far."""
    found = progress(args, checkpoint["epoch"])
    if found is not None and found.best == checkpoint["epoch"]:
        place = os.path.join(args.checkpoint_path, BEST)
        upstream.patched("file_utils").pt_save(
            {**checkpoint, "best": {"metric": args.save_best, "value": found.value}}, place
        )
        logging.info(f"Best so far: {args.save_best} {found.value:.4f} after epoch {found.best}.")


def is_over(args: argparse.Namespace, completed: int) -> bool:
    """Whether ``--patience`` epochs brought nothing better. Collective: rank 0 reads, all ranks learn."""
    over = False
    if args.rank == 0:
        found = progress(args, completed)
        over = found is not None and found.since >= args.patience
        if over:
            logging.info(
                f"{args.save_best} has not got better for {found.since} epochs; the run ends. Best: epoch {found.best}, {BEST}."
            )
    return (
        bool(upstream.patched("distributed").broadcast_object(args, over))
        if args.distributed
        else over
    )
