"""``hardpairs.mining.hits.append_hits`` as one Triton kernel: reads each block of similarities once, for both sides."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from hardpairs.mining import kernel
from hardpairs.mining.hits import ROUNDING, Bounds, Hits, Side

ROWS, COLUMNS = 16, 256
WARPS = 8
"""Pairs that a program looks at, 16 a thread: compiled for sm_90, that takes 95 registers and spills none."""


@triton.jit
def _upper(value, rounding, error):
    return value + (tl.abs(value) * rounding + error)


@triton.jit
def _append(above, own, other, codes, count, slots, others, codes_out, capacity):
    """Each pair takes its place by itself: hits are rare, one in thousands."""
    if tl.max(tl.max(above.to(tl.int32), axis=1), axis=0) > 0:
        place = tl.atomic_add(
            count + tl.zeros_like(own).to(tl.int64),
            tl.full(own.shape, 1, tl.int64),
            mask=above,
            sem="relaxed",
        )
        fits = above & (place < capacity)
        tl.store(slots + place, own, mask=fits)
        tl.store(others + place, other, mask=fits)
        tl.store(codes_out + place, codes, mask=fits)


@triton.jit
def _find(
    first, second, row_thresholds, column_thresholds, tables, count, slots, others, codes_out,
    height, width, row_number, row_slot, column_number, column_slot, capacity, rounding, first_error, second_error,
    MODE: tl.constexpr, BY_ROW: tl.constexpr, BY_COLUMN: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    across = tl.cdiv(width, COLUMNS)
    row = (tl.program_id(0) // across * ROWS + tl.arange(0, ROWS))[:, None]
    column = (tl.program_id(0) % across * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    inside = (row < height) & (column < width)
    place = row * width + column
    one = tl.load(first + place, mask=inside, other=0)
    codes = one.to(tl.uint16, bitcast=True).to(tl.int32)
    if MODE == 0:
        score = _upper(one.to(tl.float32), rounding, first_error)
    else:
        other = tl.load(second + place, mask=inside, other=0)
        other_codes = other.to(tl.uint16, bitcast=True).to(tl.int32)
        if MODE == 1:
            score = tl.maximum(_upper(one.to(tl.float32), rounding, first_error), 0.0) * _upper(
                other.to(tl.float32), rounding, second_error
            )
        else:
            score = tl.load(tables + codes) * tl.load(tables + 65536 + other_codes)
        codes = codes | (other_codes << 16)
    if BY_ROW:
        above = inside & (score > tl.load(row_thresholds + row, mask=row < height, other=0))
        _append(
            above, row_slot + row + tl.zeros_like(codes), column_number + column + tl.zeros_like(codes),
            codes, count, slots, others, codes_out, capacity,
        )  # fmt: skip
    if BY_COLUMN:
        above = inside & (score > tl.load(column_thresholds + column, mask=column < width, other=0))
        _append(
            above, column_slot + column + tl.zeros_like(codes), row_number + row + tl.zeros_like(codes),
            codes, count, slots, others, codes_out, capacity,
        )  # fmt: skip


def append_hits(
    first: torch.Tensor, second: torch.Tensor, bounds: Bounds, rows: Side, columns: Side, hits: Hits
) -> None:
    """See ``hardpairs.mining.hits.append_hits``; blocks must be contiguous."""
    assert (kernel.SINGLE, kernel.PRODUCT, kernel.WEIGHTED) == (0, 1, 2)
    height, width = first.shape
    grid = (triton.cdiv(height, ROWS) * triton.cdiv(width, COLUMNS),)
    absent = hits.count  # a pointer that is not read
    _find[grid](
        first, second,
        absent if rows.thresholds is None else rows.thresholds, absent if columns.thresholds is None else columns.thresholds,
        bounds.tables, hits.count, hits.slots, hits.others, hits.codes.view(torch.int32),
        height, width, rows.number, rows.slot, columns.number, columns.slot, hits.capacity, ROUNDING, *bounds.errors,
        MODE=bounds.mode, BY_ROW=rows.thresholds is not None, BY_COLUMN=columns.thresholds is not None, ROWS=ROWS, COLUMNS=COLUMNS, num_warps=WARPS,
    )  # fmt: skip
