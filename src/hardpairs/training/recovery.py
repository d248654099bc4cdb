"""Steps that move an optimizer's statistics alone, before the first update of the weights.

Adam's first updates come from statistics of one or a few batches, and are as large as later ones. A
model that was trained well is thrown off by them. TuneCLIP (arXiv 2601.09859, stage 1) collects the
statistics first, with the weights as they are.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from hardpairs.core.errors import mismatch

RECOVERY = "recovery"
"""Attribute of a model whose optimizer does this."""
DONE = "recovered"
"""Entry of an optimizer's groups: how many of these steps are done. It is in every checkpoint."""


class Recovery:
    """The first steps of an optimizer, with a rate and a weight decay of 0.

    Momenta move, and their bias corrections count these steps. Buffers of the model, such as
    statistics of batch norms, stay as they are. ``before`` is to be the first hook before a step
    and ``after`` the last one after it, so that other hooks see the rates of the schedule.

    Args:
        optimizer: The optimizer.
        model: The model whose parameters it has.
        steps: Number of these steps.
    """

    def __init__(self, optimizer: Optimizer, model: nn.Module, steps: int) -> None:
        self._model, self._steps = model, steps
        self._rates: list[tuple[float, float]] = []
        self.begin()
        for group in optimizer.param_groups:
            group[DONE] = 0
        optimizer.register_load_state_dict_pre_hook(_check_resumed)

    def begin(self) -> None:
        """Note the model's buffers, once its weights are loaded."""
        self._buffers = [buffer.detach().clone() for buffer in self._model.buffers()]

    def before(self, optimizer: Optimizer, *_: Any) -> None:
        """Set the rates of a step to 0, if it is one of these."""
        self._rates = []
        if optimizer.param_groups[0][DONE] < self._steps:
            for group in optimizer.param_groups:
                self._rates.append((group["lr"], group["weight_decay"]))
                group["lr"] = group["weight_decay"] = 0.0

    @torch.no_grad()
    def after(self, optimizer: Optimizer, *_: Any) -> None:
        """Give the groups their rates back, and the model its buffers."""
        if not self._rates:
            return
        for group, (rate, decay) in zip(optimizer.param_groups, self._rates, strict=True):
            group["lr"], group["weight_decay"] = rate, decay
            group[DONE] += 1
        for buffer, kept in zip(self._model.buffers(), self._buffers, strict=True):
            buffer.copy_(kept)
        if optimizer.param_groups[0][DONE] == self._steps:
            logging.info(f"{self._steps} steps moved the optimizer's statistics; updates begin.")


def add_recovery(optimizer: Optimizer, model: nn.Module, steps: int) -> Recovery:
    """Make the first steps of an optimizer move its statistics alone.

    Args:
        optimizer: The optimizer.
        model: The model, without wrappers; it gets an attribute ``RECOVERY``.
        steps: Number of these steps.

    Returns:
        What ``after`` is to be registered of, when all other hooks are.
    """
    recovery = Recovery(optimizer, model, steps)
    setattr(model, RECOVERY, recovery)
    optimizer.register_step_pre_hook(recovery.before)
    return recovery


def _check_resumed(_: Optimizer, stored: dict[str, Any]) -> None:
    if any(DONE not in group for group in stored["param_groups"]):
        raise mismatch(
            "the resumed run had no `recover_steps`",
            why="they come before the first update, which that run has made",
            fix="leave `recover_steps` out, or start from its weights instead of resuming it",
        )
