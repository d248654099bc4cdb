"""First thresholds of rows from one block of similarities, so that not every pair of the first tiles is a hit.

A threshold must lie below the score of the row's K-th best *kept* pair. So only pairs count that surely no filter removes, each with a
lower bound of its score: the K-th largest of them is below the K-th best. Where no K such pairs are in the block, the threshold is 0.
"""

from __future__ import annotations

import torch

from hardpairs.mining import kernel
from hardpairs.mining.hits import ROUNDING, Bounds

ROWS_AT_ONCE = 1024
COLUMNS = 8192
"""Columns of a block that are looked at: more would give little more, and the K-th largest is not cheap."""
ROOM = 2.0**-18
"""Relative room for float32 rounding of scores (a product, or two powers and a product) and of their limits."""


def first_thresholds(
    first: torch.Tensor,
    second: torch.Tensor,
    bounds: Bounds,
    limits: list[float],
    related: torch.Tensor,
    top_k: int,
) -> torch.Tensor:
    """(m,) float32 thresholds of the rows of a block.

    Args:
        first, second: (m, n) float16 similarities. limits: as ``kernel.Data.limits``.
        related: (m, n) bool, pairs that do not count whatever their score: a row with itself, rows of one group.
    """
    lows = torch.where(related, -1.0, _sure_scores(first, second, bounds, limits))
    if lows.shape[1] < top_k:
        return torch.zeros(len(lows), device=lows.device)
    return lows.topk(top_k, dim=1, sorted=True).values[:, -1].clamp_(min=0) * (1 - kernel.NUDGE)


def _sure_scores(
    first: torch.Tensor, second: torch.Tensor, bounds: Bounds, limits: list[float]
) -> torch.Tensor:
    """Lower bounds of the scores of pairs that no filter on similarities removes, -1 for others."""
    low, high = _interval(first, bounds.errors[0])
    at_most = min(limits[kernel.DUPLICATE_LIMIT], limits[kernel.MAX_FIRST])
    sure = (high <= at_most) & (low >= max(limits[kernel.FLOOR_FIRST], limits[kernel.MIN_FIRST]))
    low.clamp_(min=0)
    if bounds.mode != kernel.SINGLE:
        other_low, other_high = _interval(second, bounds.errors[1])
        at_most = min(limits[kernel.DUPLICATE_LIMIT], limits[kernel.MAX_SECOND])
        sure &= (other_high <= at_most) & (
            other_low >= max(limits[kernel.FLOOR_SECOND], limits[kernel.MIN_SECOND])
        )
        low, high = (
            _score(bounds, low, other_low.clamp_(min=0)),
            _score(bounds, high.clamp_(min=0), other_high.clamp_(min=0)),
        )
    low, high = low * (1 - ROOM), high * (1 + ROOM)
    sure &= (high <= limits[kernel.MAX_PRODUCT]) & (
        low > max(limits[kernel.LEAST] * (1 + ROOM), 1e-30)
    )
    return torch.where(sure, low, -1.0)


def _interval(block: torch.Tensor, error: float) -> tuple[torch.Tensor, torch.Tensor]:
    value = block.float()
    room = value.abs() * ROUNDING + error
    return value - room, value + room


def _score(bounds: Bounds, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    if bounds.mode == kernel.PRODUCT:
        return first * second
    return first ** (2 * bounds.weight) * second ** (2 - 2 * bounds.weight)
