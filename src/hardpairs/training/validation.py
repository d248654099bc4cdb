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
from hardpairs.metrics.gallery import leave_one_out
from hardpairs.metrics.linkage import best_threshold, single_linkage
from hardpairs.metrics.retrieval import first_of_each, retrieval_metrics
from hardpairs.models.load import HEAD
from hardpairs.training import upstream

LABEL_METRICS = ("ari", "top-1", "mAP", "R-precision")
"""Need labels: the best ARI of all cuts of single linkage, and retrieval among the rows themselves, each left out in its turn."""
PAIR_METRICS = tuple(
    f"{way}_{name}"
    for way in ("image_to_text", "text_to_image")
    for name in ("R@1", "R@5", "R@10", "mean_rank", "median_rank")
)
METRICS = ("mean_R@1", *PAIR_METRICS, "clip_val_loss", *LABEL_METRICS)
BEST = "best.pt"


def lower_is_better(metric: str) -> bool:
    return metric.endswith(("loss", "rank"))


def check_validation(args: argparse.Namespace) -> None:
    """Raises UserError (exit 2) for flags that have no effect or cannot work."""
    if args.patience is not None and not args.save_best:
        raise usage(
            "--patience counts epochs without a better metric",
            fix=f"--save-best {' or '.join(METRICS[:1] + LABEL_METRICS)}",
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
    if args.save_best in LABEL_METRICS and len(np.unique(labels)) == len(labels):
        raise bad_input(
            f"no two validation rows share a label, which {args.save_best} needs",
            where=samples.source,
            fix="--csv-label-key",
        )


@torch.no_grad()
def val_numbers(
    model: nn.Module, samples: Samples, rows: list[int], image: torch.Tensor, text: torch.Tensor
) -> dict[str, float]:
    """What our data knows and OpenCLIP's metrics do not: which rows show the same thing, and labels.

    Retrieval has OpenCLIP's names and replaces its numbers, as ``tools.evaluate`` measures it: each picture and each caption of a group once, any
    of the same group is right, equal similarities count against the model.
    With labels also ``LABEL_METRICS``, on what the run embeds (the head's output, else the image).

    Args:
        rows: dataset rows of the features. image, text: (M, D) unit features on the CPU.
    """
    groups, known = samples.groups[rows], samples.labelled[rows]
    images, texts = (
        first_of_each(groups, samples.images[rows]),
        first_of_each(groups, samples.texts[rows]),
    )
    found = retrieval_metrics(
        image[images].float().numpy(), text[texts].float().numpy(), groups[images], groups[texts]
    )
    numbers = {name: value for name, value in found.items() if name in PAIR_METRICS}
    numbers["mean_R@1"] = (numbers["image_to_text_R@1"] + numbers["text_to_image_R@1"]) / 2
    if len(np.unique(groups[known])) < known.sum():
        head = getattr(getattr(model, "module", model), HEAD, None)
        device = next(model.parameters()).device
        embedding = (
            image if head is None else head(image.to(device).float(), text.to(device).float()).cpu()
        )
        numbers |= label_numbers(embedding.float().numpy()[known], groups[known])
    return numbers


def label_numbers(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """``LABEL_METRICS`` of (M, D) rows and their (M,) labels; fractions, ARI up to 1."""
    retrieval = leave_one_out(embeddings, labels)
    ari = best_threshold(single_linkage(embeddings), np.unique(labels, return_inverse=True)[1])[1]
    return {"ari": ari, **{name: retrieval[name] for name in LABEL_METRICS if name in retrieval}}


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
    sign = 1 if lower_is_better(args.save_best) else -1
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
