"""Choose between a start model and its tuned one: averages of their weights, measured on data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hardpairs.core.atomic import write_json
from hardpairs.models.checkpoint import load_checkpoint, without_head
from hardpairs.models.merge import Weights, merge
from hardpairs.models.weight_files import save_checkpoint
from hardpairs.training.logs import watched
from hardpairs.training.watch import Watch

LEFT_OUT = ("optimizer", "scaler", "ema", "loss", "best")
"""Entries of a checkpoint that do not belong to merged weights."""


@dataclass(frozen=True)
class Measured:
    """The score of an average of two models: top-1 accuracy, or the mean R@1 of both directions.

    Attributes:
        alpha: Share of the tuned model.
        validation: On the data that it was tuned for.
        watch: On a second data set, if there is one.
    """

    alpha: float
    validation: float
    watch: float | None = None


def measure_merges(
    model: nn.Module,
    start: Weights,
    end: Weights,
    alphas: Sequence[float],
    validation: Watch,
    watch: Watch | None = None,
) -> Iterator[Measured]:
    """Yield what each average of two models can do.

    Args:
        model: A model of their architecture; its weights are replaced.
        start: Weights of the start model.
        end: Weights of the tuned model.
        alphas: Shares of ``end``.
        validation: The data that it was tuned for.
        watch: A second data set.
    """
    for alpha in alphas:
        model.load_state_dict(without_head(merge(start, end, alpha)))
        other = None if watch is None else watched(watch.numbers(model))
        yield Measured(alpha, watched(validation.numbers(model)) or 0.0, other)


def best_of(measured: Sequence[Measured]) -> Measured:
    """Return the best one on validation data; of equal ones, the nearest to the start model."""
    return max(measured, key=lambda one: (one.validation, -one.alpha))


def write_merged(
    out: Path, end: str, weights: dict[str, torch.Tensor], record: dict[str, Any]
) -> None:
    """Write a checkpoint of merged weights, and its record beside it as JSON.

    Args:
        out: The checkpoint.
        end: The tuned model's checkpoint, whose vocabulary and other entries are kept.
        weights: The merged weights.
        record: Both models, the share, and what was measured.
    """
    stored = load_checkpoint(end) if Path(end).is_file() else {}
    kept = {name: value for name, value in stored.items() if name not in LEFT_OUT}
    kept = kept if "state_dict" in stored else {}
    save_checkpoint({**kept, "state_dict": weights, "merged": record}, out)
    write_json(out.with_suffix(".json"), record)
