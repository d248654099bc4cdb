"""A moving average of a model's parameters, beside the model that is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

AVERAGE = "ema"
"""Attribute of a model that has one, entry of its checkpoints, and start of its numbers' names."""
FILE = "ema.pt"
"""The averaged model of a run's last epoch, among its checkpoints."""
HIGHEST_SCALE = math.log(100)
"""OpenCLIP keeps the logit scale below it, after each step."""


class Average:
    """average = decay * average + (1 - decay) * parameter after each step, from the start model on.

    Parameters that are never trained are left out. Buffers, such as statistics of batch norms, stay
    those of the model.

    Args:
        model: The model, without wrappers.
        decay: Share of the average that a step keeps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.begin()

    def begin(self, stored: Mapping[str, Any] | None = None) -> None:
        """Begin with the parameters as they are, or go on with the average of a checkpoint."""
        self.weights = {name: value.clone() for name, value in self._values().items()}
        for name, value in stored["weights"].items() if stored else ():
            self.weights[name].copy_(value)

    @torch.no_grad()
    def _values(self) -> dict[str, torch.Tensor]:
        values = {name: p.detach().float() for name, p in self._parameters.items()}
        if "logit_scale" in values:
            values["logit_scale"] = values["logit_scale"].clamp(0, HIGHEST_SCALE)
        return values

    def update(self, *_: Any) -> None:
        """Take in the parameters as they are; a hook after an optimizer's steps."""
        self._update(list(self.weights.values()), list(self._values().values()), None)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint stores."""
        return {"decay": self.decay, "weights": self.weights}

    def state_dict(self, live: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the weights of the averaged model.

        Args:
            live: Those of the model, with the prefix of distributed training or without.
        """
        return {
            name: self.weights.get(name.removeprefix("module."), value).to(value.dtype)
            for name, value in live.items()
        }

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the model the averaged parameters, and its own ones back at the end."""
        own = {name: p.detach().clone() for name, p in self._parameters.items()}
        try:
            self._fill(self.weights)
            yield
        finally:
            self._fill(own)

    @torch.no_grad()
    def _fill(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])


def add_average(optimizer: Optimizer, model: nn.Module, decay: float) -> None:
    """Average a model's parameters after each step of its optimizer.

    Args:
        optimizer: The optimizer.
        model: The model, without wrappers; it gets an attribute ``AVERAGE``.
        decay: Share of the average that a step keeps.
    """
    average = Average(model, decay)
    setattr(model, AVERAGE, average)
    optimizer.register_step_post_hook(average.update)
