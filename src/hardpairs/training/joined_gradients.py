"""The gradients of a joined batch's loss, computed once for all its micro-batches.

With gradient accumulation, OpenCLIP's trainer calls the loss once for each micro-batch: on the
features of all rows, of which the micro-batch's own are computed anew, with gradients. Unless the
model draws random numbers, all these calls have the same input. So the first call takes the
gradients with respect to all features, and each call hands the model its part of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

Parts = dict[str, torch.Tensor]
RTOL, ATOL = 1e-5, 1e-6
"""How far features that were computed twice may differ: by rounding alone."""


class JoinedGradients:
    """Values and gradients of the loss at the input of a step's first call."""

    def __init__(self) -> None:
        self._inputs: dict[str, Any] = {}
        self._gradients: dict[str, torch.Tensor] = {}
        self._values: Parts = {}

    def compute(self, loss: Callable[..., Parts], inputs: Mapping[str, Any]) -> Parts:
        """Compute the gradients of the sum of the loss's parts, and return the parts.

        Args:
            loss: The loss.
            inputs: Its arguments by name.
        """
        self._inputs = {name: _detached(value) for name, value in inputs.items()}
        leaves = {
            name: value.detach().requires_grad_()
            for name, value in inputs.items()
            if isinstance(value, torch.Tensor) and value.requires_grad
        }
        parts = loss(**{**self._inputs, **leaves})
        self._gradients = _gradients(parts, leaves)
        self._values = {name: part.detach() for name, part in parts.items()}
        return self.parts(inputs)

    def fit(self, inputs: Mapping[str, Any]) -> bool:
        """Tell whether another call has the input that the gradients were computed at."""
        return inputs.keys() == self._inputs.keys() and all(
            _close(value, self._inputs[name]) for name, value in inputs.items()
        )

    def parts(self, inputs: Mapping[str, Any]) -> Parts:
        """Return the parts of the loss; backward hands the gradients to what requires them."""
        learning = [inputs[name] for name in self._gradients]
        first = next(iter(self._values))
        gradients = list(self._gradients.values())
        value = _WithGradients.apply(self._values[first], gradients, *learning)
        return {**self._values, first: value}


class _WithGradients(torch.autograd.Function):
    """A value whose gradients with respect to some tensors are known."""

    @staticmethod
    def forward(
        ctx: Any, value: torch.Tensor, gradients: list[torch.Tensor], *_: torch.Tensor
    ) -> torch.Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        return None, None, *(upstream[0] * gradient for gradient in ctx.gradients)


def can_share(inputs: Mapping[str, Any]) -> bool:
    """Tell whether gradients of these inputs may be kept: in float16 small ones would be lost."""
    tensors = [value for value in inputs.values() if isinstance(value, torch.Tensor)]
    return torch.is_grad_enabled() and all(value.dtype != torch.float16 for value in tensors)


def _gradients(parts: Parts, leaves: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the gradients of the sum of the parts, of the leaves that they depend on."""
    outputs = [part for part in parts.values() if part.requires_grad]
    if not outputs or not leaves:
        return {}
    with torch.autocast(outputs[0].device.type, enabled=False):
        gradients = torch.autograd.grad(outputs, list(leaves.values()), allow_unused=True)
    pairs = zip(leaves, gradients, strict=True)
    return {name: gradient for name, gradient in pairs if gradient is not None}


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value


def _close(value: Any, known: Any) -> bool:
    if not isinstance(value, torch.Tensor):
        return bool(value is known or value == known)
    return value.shape == known.shape and bool(torch.isclose(value, known, RTOL, ATOL).all())
