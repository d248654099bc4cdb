"""The check that no update is made with, and none ends in, numbers that are not finite."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from hardpairs.core.errors import non_finite

FIX = "a lower `lr`, `grad_clip_norm` 1, or other start weights"


def stop_when_not_finite(optimizer: Optimizer, model: nn.Module) -> None:
    """Stop a run before an update with gradients, or after one with weights, that are not finite.

    All ranks have the same gradients and weights, so that all of them stop.

    Args:
        optimizer: The optimizer; with float16, its steps are those that the scaler lets pass.
        model: The model whose parameters it has.
    """
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad and p.numel()]
    named = [(name.removeprefix("module."), parameter) for name, parameter in trained]

    def check_gradients(*_: Any) -> None:
        gradients = {name: p.grad for name, p in named if p.grad is not None}
        _check(gradients, "gradients are not finite; nothing was updated with them")

    def check_weights(*_: Any) -> None:
        _check(dict(named), "the update left weights that are not finite; none of them was saved")

    optimizer.register_step_pre_hook(check_gradients)
    optimizer.register_step_post_hook(check_weights)


@torch.no_grad()
def _check(tensors: dict[str, torch.Tensor], what: str) -> None:
    """Raise where a tensor has a value that is not finite, or values whose squares are not.

    Raises:
        UserError: Exit 6, naming the tensors.
    """
    if not tensors:
        return
    values = [value.detach() for value in tensors.values()]
    norms = torch.stack(torch._foreach_norm(values, 2, dtype=torch.float32))
    if bool(norms.isfinite().all()):
        return
    wrong = [name for name, norm in zip(tensors, norms, strict=True) if not norm.isfinite()]
    raise non_finite(what, where=", ".join(wrong[:10]), fix=FIX)
