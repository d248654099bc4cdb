"""Candidate pairs of a block of similarities: the scan over all pairs, on an accelerator.

The bounds and comparisons are those of ``kernel.offer_rows`` and ``kernel.offer_columns``. A pair
above a threshold is appended to a ``CandidateBuffer``, and ``kernel.offer_pairs`` decides it on the
host. ``append_candidates`` is written in plain torch, for any device; ``candidates_triton`` holds
the fast version of it.

Similarities are float16 here, not bfloat16: as fast on an accelerator, and of numbers up to 1 it
keeps three bits more, so that an eighth as many pairs are too close to call.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hardpairs.mining import options
from hardpairs.mining.engine import kernel
from hardpairs.mining.engine.error_bound import FLOAT16_ROUNDING

CAPACITY = 1 << 24
"""Candidate pairs that a batch may bring; one that brings more is done again in smaller tiles."""
PAIR_BYTES = 12
"""Memory of a candidate pair in a ``CandidateBuffer``."""
ROWS_AT_ONCE = 1024
"""Rows of a block that plain torch scans together."""
THRESHOLD_COLUMNS = 8192
"""Columns that first thresholds come from: more add little, and the K-th largest is not cheap."""
SCORE_ROUNDING = 2.0**-18
"""Relative float32 rounding of scores (a product, or two powers and a product) and their limits."""


@dataclass(frozen=True)
class ScoreBounds:
    """Bounds of scores from similarities.

    Attributes:
        mode: SINGLE, PRODUCT, WEIGHTED or CROSS, as in ``hardpairs.mining.options``.
        weight: w of WEIGHTED mode.
        errors: A similarity v is within FLOAT16_ROUNDING * |v| + error of the exact one, for the
            first and second modality.
        tables: (2, 65536) float32, for each float16 code an upper bound of the factor with its
            power, in WEIGHTED mode.
    """

    mode: int
    weight: float
    errors: tuple[float, float]
    tables: torch.Tensor


class CandidateBuffer:
    """A list of pairs on a device with room for ``capacity``.

    Attributes:
        slots: (C,) int32 and others: (C,) int32, as in ``kernel.Pairs``.
        codes: (C, 2) int16, the similarities as bits.
        count: (1,) int64, pairs that were appended; it keeps counting when the room is used up.
    """

    def __init__(self, capacity: int, device: torch.device | str, *, pinned: bool = False) -> None:
        self.slots = torch.empty(capacity, dtype=torch.int32, device=device, pin_memory=pinned)
        self.others = torch.empty(capacity, dtype=torch.int32, device=device, pin_memory=pinned)
        self.codes = torch.empty(capacity, 2, dtype=torch.int16, device=device, pin_memory=pinned)
        self.count = torch.zeros(1, dtype=torch.int64, device=device)

    @property
    def capacity(self) -> int:
        """Return how many pairs there is room for."""
        return len(self.slots)


@dataclass(frozen=True)
class BlockSide:
    """The m rows, or the m columns, of a block.

    Attributes:
        number: Number of the first one.
        slot: Slot of the first one's list.
        thresholds: (m,) float32; ``None`` where no pair is offered to their lists.
    """

    number: int
    slot: int = 0
    thresholds: torch.Tensor | None = None


def upper_scores(first: torch.Tensor, second: torch.Tensor, bounds: ScoreBounds) -> torch.Tensor:
    """Return upper bounds of scores, float32, from float16 similarities of any one shape."""
    if bounds.mode == options.WEIGHTED:
        codes = [block.view(torch.int16).int() & 0xFFFF for block in (first, second)]
        return bounds.tables[0][codes[0]] * bounds.tables[1][codes[1]]
    upper = _interval(first, bounds.errors[0])[1]
    if bounds.mode == options.SINGLE:
        return upper
    other_upper = _interval(second, bounds.errors[1])[1]
    if bounds.mode == options.CROSS:
        return torch.maximum(upper, other_upper)
    return upper.clamp_(min=0).mul_(other_upper)


def append_candidates(
    first: torch.Tensor,
    second: torch.Tensor,
    bounds: ScoreBounds,
    rows: BlockSide,
    columns: BlockSide,
    buffer: CandidateBuffer,
) -> None:
    """Append each pair above its row's threshold, and each above its column's.

    Args:
        first: (m, n) float16 similarities of the first modality.
        second: The same of the second one; not read in SINGLE mode.
        bounds: How to bound scores.
        rows: The rows of the block; a pair above a row's threshold goes to the row's list.
        columns: The columns of the block, likewise.
        buffer: Receives the pairs.
    """
    for start in range(0, len(first), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        scores = upper_scores(first[part], second[part], bounds)
        for own, other, by_row in ((rows, columns, True), (columns, rows, False)):
            if own.thresholds is not None:
                above = scores > (own.thresholds[part, None] if by_row else own.thresholds)
                r, c = above.nonzero(as_tuple=True)
                codes = torch.stack((first[part][r, c], second[part][r, c]), dim=1)
                slots, others = (start + r, c) if by_row else (c, start + r)
                _append(buffer, own.slot + slots, other.number + others, codes.view(torch.int16))


def _append(
    buffer: CandidateBuffer, slots: torch.Tensor, others: torch.Tensor, codes: torch.Tensor
) -> None:
    begin = int(buffer.count)
    end = min(begin + len(slots), buffer.capacity)
    if begin < end:
        buffer.slots[begin:end] = slots[: end - begin]
        buffer.others[begin:end] = others[: end - begin]
        buffer.codes[begin:end] = codes[: end - begin]
    buffer.count += len(slots)


def first_thresholds(
    first: torch.Tensor,
    second: torch.Tensor,
    bounds: ScoreBounds,
    limits: list[float],
    related: torch.Tensor,
    depth: int,
) -> torch.Tensor:
    """Return thresholds of rows from one block, so that few of its pairs are candidates.

    A threshold must lie below the score of the row's K-th best *kept* pair. So only pairs count
    that surely no filter removes, each with a lower bound of its score: the K-th largest of these
    lies below the K-th best. A row with fewer such pairs in the block gets the threshold 0.

    Args:
        first: (m, n) float16 similarities of the first modality.
        second: The same of the second one; not read in SINGLE mode.
        bounds: How to bound scores.
        limits: As ``MiningOptions.limits`` returns them.
        related: (m, n) bool, pairs that do not count: a row with itself, rows of one group; in
            CROSS mode also those that a filter within a modality may remove.
        depth: K.

    Returns:
        (m,) float32.
    """
    lows = torch.where(related, -1.0, _sure_scores(first, second, bounds, limits))
    if lows.shape[1] < depth:
        return torch.zeros(len(lows), device=lows.device)
    return lows.topk(depth, dim=1, sorted=True).values[:, -1].clamp_(min=0) * (1 - kernel.NUDGE)


def _sure_scores(
    first: torch.Tensor, second: torch.Tensor, bounds: ScoreBounds, limits: list[float]
) -> torch.Tensor:
    """Return lower bounds of scores, -1 for pairs that a filter on similarities may remove."""
    low, high = (side.clamp_(min=0) for side in _interval(first, bounds.errors[0]))
    if bounds.mode != options.SINGLE:
        other_low, other_high = _interval(second, bounds.errors[1])
        low = _score(bounds, low, other_low.clamp_(min=0))
        high = _score(bounds, high, other_high.clamp_(min=0))
    low, high = low * (1 - SCORE_ROUNDING), high * (1 + SCORE_ROUNDING)
    least = max(limits[options.LEAST] * (1 + SCORE_ROUNDING), 1e-30)
    sure = (high <= limits[options.MAX_PRODUCT]) & (low > least)
    if bounds.mode != options.CROSS:
        sure &= sure_sides(first, second, bounds, limits)
    return torch.where(sure, low, -1.0)


def sure_sides(
    first: torch.Tensor, second: torch.Tensor, bounds: ScoreBounds, limits: list[float]
) -> torch.Tensor:
    """Tell which pairs surely pass the filters on similarities within a modality.

    Args:
        first: (m, n) float16 similarities within the first modality.
        second: The same of the second one; not read in SINGLE mode.
        bounds: How far the similarities may be off.
        limits: As ``MiningOptions.limits`` returns them.

    Returns:
        (m, n) bool.
    """
    duplicate = limits[options.DUPLICATE_LIMIT]
    low, high = _interval(first, bounds.errors[0])
    at_most = min(duplicate, limits[options.MAX_FIRST])
    at_least = max(limits[options.FLOOR_FIRST], limits[options.MIN_FIRST])
    sure = (high <= at_most) & (low >= at_least)
    if bounds.mode != options.SINGLE:
        low, high = _interval(second, bounds.errors[1])
        at_most = min(duplicate, limits[options.MAX_SECOND])
        at_least = max(limits[options.FLOOR_SECOND], limits[options.MIN_SECOND])
        sure &= (high <= at_most) & (low >= at_least)
    return sure


def _interval(block: torch.Tensor, error: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return lower and upper bounds of exact similarities."""
    value = block.float()
    radius = value.abs() * FLOAT16_ROUNDING + error
    return value - radius, value + radius


def _score(bounds: ScoreBounds, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    if bounds.mode == options.PRODUCT:
        return first * second
    if bounds.mode == options.CROSS:
        return torch.maximum(first, second)
    return first ** (2 * bounds.weight) * second ** (2 - 2 * bounds.weight)
