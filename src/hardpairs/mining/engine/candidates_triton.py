"""``append_candidates`` as one Triton kernel, which reads each similarity once for both sides."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# Parameters of compiled functions have Triton's types.

from __future__ import annotations

import torch
import triton
import triton.language as tl

from hardpairs.mining.engine.candidates import BlockSide, CandidateBuffer, ScoreBounds
from hardpairs.mining.engine.error_bound import FLOAT16_ROUNDING
from hardpairs.mining.options import CROSS, PRODUCT, SINGLE, WEIGHTED

ROWS, COLUMNS = 16, 256
WARPS = 8
"""A program scans 16 pairs per thread: compiled for sm_90, that takes 95 registers; none spill."""


@triton.jit
def _upper(value, rounding, error):
    return value + (tl.abs(value) * rounding + error)


@triton.jit
def _append(above, own, other, codes, count, slots, others, codes_out, capacity):
    """Reserve a position for each pair by itself: candidates are rare, one in thousands."""
    if tl.max(tl.max(above.to(tl.int32), axis=1), axis=0) > 0:
        position = tl.atomic_add(
            count + tl.zeros_like(own).to(tl.int64),
            tl.full(own.shape, 1, tl.int64),
            mask=above,
            sem="relaxed",
        )
        fits = above & (position < capacity)
        tl.store(slots + position, own, mask=fits)
        tl.store(others + position, other, mask=fits)
        tl.store(codes_out + position, codes, mask=fits)


@triton.jit
def _scan(
    first, second, row_thresholds, column_thresholds, tables, count, slots, others, codes_out,
    height, width, row_number, row_slot, column_number, column_slot, capacity,
    rounding, first_error, second_error,
    MODE: tl.constexpr, BY_ROW: tl.constexpr, BY_COLUMN: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    across = tl.cdiv(width, COLUMNS)
    row = (tl.program_id(0) // across * ROWS + tl.arange(0, ROWS))[:, None]
    column = (tl.program_id(0) % across * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    inside = (row < height) & (column < width)
    position = row * width + column
    one = tl.load(first + position, mask=inside, other=0)
    codes = one.to(tl.uint16, bitcast=True).to(tl.int32)
    if MODE == 0:
        score = _upper(one.to(tl.float32), rounding, first_error)
    else:
        other = tl.load(second + position, mask=inside, other=0)
        other_codes = other.to(tl.uint16, bitcast=True).to(tl.int32)
        if MODE == 1:
            score = tl.maximum(_upper(one.to(tl.float32), rounding, first_error), 0.0) * _upper(
                other.to(tl.float32), rounding, second_error
            )
        elif MODE == 3:
            score = tl.maximum(
                _upper(one.to(tl.float32), rounding, first_error),
                _upper(other.to(tl.float32), rounding, second_error),
            )
        else:
            score = tl.load(tables + codes) * tl.load(tables + 65536 + other_codes)
        codes = codes | (other_codes << 16)
    if BY_ROW:
        above = inside & (score > tl.load(row_thresholds + row, mask=row < height, other=0))
        own = row_slot + row + tl.zeros_like(codes)
        offered = column_number + column + tl.zeros_like(codes)
        _append(above, own, offered, codes, count, slots, others, codes_out, capacity)
    if BY_COLUMN:
        above = inside & (score > tl.load(column_thresholds + column, mask=column < width, other=0))
        own = column_slot + column + tl.zeros_like(codes)
        offered = row_number + row + tl.zeros_like(codes)
        _append(above, own, offered, codes, count, slots, others, codes_out, capacity)


def append_candidates(
    first: torch.Tensor,
    second: torch.Tensor,
    bounds: ScoreBounds,
    rows: BlockSide,
    columns: BlockSide,
    buffer: CandidateBuffer,
) -> None:
    """Do what ``candidates.append_candidates`` does; blocks must be contiguous."""
    assert (SINGLE, PRODUCT, WEIGHTED, CROSS) == (0, 1, 2, 3)
    height, width = first.shape
    grid = (triton.cdiv(height, ROWS) * triton.cdiv(width, COLUMNS),)
    absent = buffer.count  # a pointer that is not read
    _scan[grid](
        first, second,
        absent if rows.thresholds is None else rows.thresholds,
        absent if columns.thresholds is None else columns.thresholds,
        bounds.tables, buffer.count, buffer.slots, buffer.others, buffer.codes.view(torch.int32),
        height, width, rows.number, rows.slot, columns.number, columns.slot, buffer.capacity,
        FLOAT16_ROUNDING, *bounds.errors,
        MODE=bounds.mode, BY_ROW=rows.thresholds is not None,
        BY_COLUMN=columns.thresholds is not None, ROWS=ROWS, COLUMNS=COLUMNS, num_warps=WARPS,
    )  # fmt: skip
