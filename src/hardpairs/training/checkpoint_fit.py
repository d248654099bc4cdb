"""Whether a run can go on from a checkpoint: what it holds fits the run's model and optimizer."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn

from hardpairs.core.errors import UserError, mismatch
from hardpairs.models.checkpoint import load_checkpoint, weights_in

SHOWN = 3
"""Names of weights in a message."""


def check_weights(path: str | os.PathLike[str], model: nn.Module) -> None:
    """Refuse a checkpoint that a model's run cannot go on from.

    Args:
        path: A checkpoint of the trainer, or weights alone.
        model: The run's model, before it is wrapped.

    Raises:
        UserError: Exit 4 for a damaged checkpoint, and for one of another model or program.
    """
    content = load_checkpoint(path)
    if "epoch" in content:
        _check_entries(content, path)
    theirs, ours = weights_in(content), model.state_dict()
    other_shapes = [
        f"{name} {_shape(theirs[name])} for {_shape(ours[name])}"
        for name in ours
        if name in theirs and _shape(theirs[name]) != _shape(ours[name])
    ]
    for what, names in (
        ("it lacks", [name for name in ours if name not in theirs]),
        ("the model has no", [name for name in theirs if name not in ours]),
        ("it has other shapes:", other_shapes),
    ):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            raise _other(f"{what} {', '.join(names[:SHOWN])}{more}", path)


def check_optimizer(path: str | os.PathLike[str], optimizer: torch.optim.Optimizer) -> None:
    """Refuse (exit 4) a checkpoint whose optimizer has other groups of parameters than a run's.

    Args:
        path: A checkpoint that ``check_weights`` accepts.
        optimizer: The run's optimizer.
    """
    content = load_checkpoint(path)
    if "epoch" not in content:
        return
    theirs, ours = (
        [len(group["params"]) for group in groups]
        for groups in (content["optimizer"]["param_groups"], optimizer.param_groups)
    )
    if theirs != ours:
        raise _other(f"its optimizer has {theirs} parameters by group, the run's has {ours}", path)


def _check_entries(content: dict[str, Any], path: str | os.PathLike[str]) -> None:
    epoch, optimizer = content["epoch"], content.get("optimizer")
    if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 0:
        raise _other(f"its epoch is {str(epoch)[:20]!r}, not a number", path)
    if "state_dict" not in content:
        raise _other("it has no weights", path)
    groups = optimizer.get("param_groups") if isinstance(optimizer, dict) else None
    if not isinstance(groups, list) or not all(
        isinstance(group, dict) and isinstance(group.get("params"), list) for group in groups
    ):
        raise mismatch(
            "the checkpoint has no state of an optimizer",
            where=str(path),
            why="a run goes on from weights and optimizer together",
            fix="start a run from its weights: `pretrained` instead of `resume`",
        )


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def _other(what: str, path: str | os.PathLike[str]) -> UserError:
    return mismatch(
        f"the checkpoint is not of this run's model: {what}",
        where=str(path),
        fix="give the model and flags that it was trained with, or another checkpoint",
    )
