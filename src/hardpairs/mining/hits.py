"""Which pairs of a block of similarities may belong into a list: the one loop over all pairs, on an accelerator.

The same bound as ``kernel._upper_scores``, the same comparison with thresholds as ``kernel.sweep_rows`` and ``sweep_columns``; what is above
one comes out as a list of pairs, and ``kernel.offer_pairs`` decides it on the host. ``hits_triton`` is the fast version, ``append_hits`` here
the same in plain torch, for any device.

Similarities are float16 here, not bfloat16: as fast on an accelerator, and of numbers up to 1 it keeps three bits more, so that an eighth
as many pairs are too close to call.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hardpairs.mining import kernel

ROUNDING = 2.0**-11 / (1 - 2.0**-11)
"""Of a value rounded to float16 (11 significant bits, to nearest): its error is at most this times the rounded value, ..."""
UNDERFLOW = 2.0**-24
"""... or this, where the value is too small for 11 bits."""
ROWS_AT_ONCE = 1024
"""Rows of a block that plain torch looks at together."""


@dataclass(frozen=True)
class Bounds:
    """How to bound scores from similarities.

    Attributes:
        mode: SINGLE, PRODUCT or WEIGHTED, as in ``hardpairs.mining.kernel``. weight: w of WEIGHTED mode.
        errors: a similarity v is within ROUNDING * |v| + error of the exact one, for the first and second modality.
        tables: (2, 65536) float32, for each float16 code an upper bound of the factor with its power, in WEIGHTED mode.
    """

    mode: int
    weight: float
    errors: tuple[float, float]
    tables: torch.Tensor


class Hits:
    """A list of pairs with room for ``capacity``: slots and others (C,) int32 as in ``kernel.offer_pairs``, codes (C, 2) int16 bits.

    ``count`` (1,) int64 goes on counting when the room is used up.
    """

    def __init__(self, capacity: int, device: torch.device | str, *, pinned: bool = False) -> None:
        self.slots = torch.empty(capacity, dtype=torch.int32, device=device, pin_memory=pinned)
        self.others = torch.empty(capacity, dtype=torch.int32, device=device, pin_memory=pinned)
        self.codes = torch.empty(capacity, 2, dtype=torch.int16, device=device, pin_memory=pinned)
        self.count = torch.zeros(1, dtype=torch.int64, device=device)

    @property
    def capacity(self) -> int:
        return len(self.slots)


@dataclass(frozen=True)
class Side:
    """The rows or the columns of a block: number of the first one, its slot, and thresholds (m,) float32; ``None``: they have no lists."""

    number: int
    slot: int = 0
    thresholds: torch.Tensor | None = None


def upper_scores(first: torch.Tensor, second: torch.Tensor, bounds: Bounds) -> torch.Tensor:
    """Upper bounds of scores, float32, from float16 similarities of any one shape."""
    if bounds.mode == kernel.WEIGHTED:
        one, other = ((block.view(torch.int16).int() & 0xFFFF) for block in (first, second))
        return bounds.tables[0][one] * bounds.tables[1][other]
    upper = _upper(first, bounds.errors[0])
    return (
        upper
        if bounds.mode == kernel.SINGLE
        else upper.clamp_(min=0).mul_(_upper(second, bounds.errors[1]))
    )


def _upper(block: torch.Tensor, error: float) -> torch.Tensor:
    value = block.float()
    return value + (value.abs() * ROUNDING + error)


def append_hits(
    first: torch.Tensor, second: torch.Tensor, bounds: Bounds, rows: Side, columns: Side, hits: Hits
) -> None:
    """Appends each pair that is above its row's threshold, for the row's list, and each above its column's, for the column's.

    Args:
        first, second: (m, n) float16 similarities; in SINGLE mode the second is not read.
    """
    for start in range(0, len(first), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        scores = upper_scores(first[part], second[part], bounds)
        for own, other, by_row in ((rows, columns, True), (columns, rows, False)):
            if own.thresholds is not None:
                above = scores > (own.thresholds[part, None] if by_row else own.thresholds)
                r, c = above.nonzero(as_tuple=True)
                codes = torch.stack((first[part][r, c], second[part][r, c]), dim=1).view(
                    torch.int16
                )
                slots, others = (start + r, c) if by_row else (c, start + r)
                _append(hits, own.slot + slots, other.number + others, codes)


def _append(hits: Hits, slots: torch.Tensor, others: torch.Tensor, codes: torch.Tensor) -> None:
    begin = int(hits.count)
    end = min(begin + len(slots), hits.capacity)
    if begin < end:
        for room, found in ((hits.slots, slots), (hits.others, others), (hits.codes, codes)):
            room[begin:end] = found[: end - begin]
    hits.count += len(slots)
