"""Average the weights of two models of one architecture."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from hardpairs.core.errors import mismatch

Weights = Mapping[str, torch.Tensor]


def merge(start: Weights, end: Weights, alpha: float) -> dict[str, torch.Tensor]:
    """Return (1 - alpha) * start + alpha * end, exactly ``start`` for 0 and ``end`` for 1.

    Args:
        start: Weights by name.
        end: Weights of the model that training made of ``start``. Those that ``start`` lacks, such
            as a head for labels, and counters are taken over.
        alpha: Share of ``end``.

    Raises:
        UserError: Exit 4 for weights of another architecture.
    """
    other = [name for name in start if name not in end or start[name].shape != end[name].shape]
    if other:
        raise mismatch(
            f"{len(other)} of {len(start)} weights are missing or have another shape",
            where=", ".join(other[:3]),
            why="weights can only be averaged within one architecture",
            fix="the model that the run started from, and its checkpoint",
        )
    return {name: _between(start.get(name), value, alpha) for name, value in end.items()}


def _between(start: torch.Tensor | None, end: torch.Tensor, alpha: float) -> torch.Tensor:
    if start is None or not end.is_floating_point():
        return end
    return torch.lerp(start.float(), end.float(), alpha).to(end.dtype)
