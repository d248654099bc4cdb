"""Log sums of a block and their gradients as Triton kernels, which hold a tile of logits at a time.

``block_sums`` has the same in plain torch, for every loss. The forward pass writes a log sum for
each row and each column of a tile, the backward pass the gradients of the logits, in the dtype of
the features, for the two products that follow.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# Parameters of compiled functions have Triton's types.

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from hardpairs.losses.block_sums import LogitInputs
from hardpairs.losses.tiles_triton import arguments_of, grid_of, store_tile, tile


@triton.jit
def _masked(logits, inside, own, known, WITH_OWN: tl.constexpr):
    """Return a tile's logits with -inf where a pair is left out."""
    kept = inside & (known == 0)
    if not WITH_OWN:
        kept = kept & (own == 0)
    return tl.where(kept, logits, float("-inf"))


@triton.jit
def _log_sum(logits, axis: tl.constexpr):
    peak = tl.maximum(tl.max(logits, axis), -3e38)  # -inf less -inf is nan
    return peak + tl.log(tl.sum(tl.exp(logits - tl.expand_dims(peak, axis)), axis))


@triton.jit
def _sums(
    image, text, scale, row_ids, column_ids, row_parts, column_parts, own_logits,
    height, width, depth, first, WITH_OWN: tl.constexpr, GROUPS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    row, column, logits, inside, own, known = tile(
        image, text, scale, row_ids, column_ids, height, width, depth, first,
        GROUPS, ROWS, COLUMNS, DEPTH,
    )  # fmt: skip
    kept = _masked(logits, inside, own, known, WITH_OWN)
    row_part = row_parts + tl.program_id(1).to(tl.int64) * height + row
    column_part = column_parts + tl.program_id(0).to(tl.int64) * width + column
    tl.store(row_part, _log_sum(kept, 1), mask=row < height)
    tl.store(column_part, _log_sum(kept, 0), mask=column < width)
    own_logit = tl.sum(tl.where(own, logits, 0.0), 1)
    tl.store(own_logits + row, own_logit, mask=tl.max(own.to(tl.int32), 1) > 0)


@triton.jit
def _gradients(
    image, text, scale, row_ids, column_ids, row_sums, column_sums,
    row_gradients, column_gradients, own_gradients, out,
    height, width, depth, first, WITH_OWN: tl.constexpr, GROUPS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    row, column, logits, inside, own, known = tile(
        image, text, scale, row_ids, column_ids, height, width, depth, first,
        GROUPS, ROWS, COLUMNS, DEPTH,
    )  # fmt: skip
    kept = _masked(logits, inside, own, known, WITH_OWN)
    row_sum = tl.load(row_sums + row, mask=row < height, other=0)[:, None]
    column_sum = tl.load(column_sums + column, mask=column < width, other=0)[None, :]
    toward_row = tl.load(row_gradients + row, mask=row < height, other=0)[:, None]
    toward_column = tl.load(column_gradients + column, mask=column < width, other=0)[None, :]
    toward_own = tl.load(own_gradients + row, mask=row < height, other=0)[:, None]
    gradient = tl.exp(kept - row_sum) * toward_row + tl.exp(kept - column_sum) * toward_column
    gradient += tl.where(own, toward_own, 0.0)
    store_tile(out, gradient, row, column, height, width)


def sums_of_block(
    inputs: LogitInputs, block: slice
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return log sums of a block's rows (r,) and of the columns over them (c,), and own logits."""
    (known, sizes), (down, across) = _arguments(inputs, block), grid_of(inputs, block)
    height, width, text = sizes["height"], sizes["width"], inputs.text
    row_parts = text.new_empty(across, height, dtype=torch.float32)
    column_parts = text.new_empty(down, width, dtype=torch.float32)
    own = text.new_zeros(height, dtype=torch.float32)
    parts = (row_parts, column_parts, own)
    _sums[(down, across)](*known, *parts, **sizes)
    return row_parts.logsumexp(0), column_parts.logsumexp(0), own


def gradients_of_block(
    inputs: LogitInputs, block: slice, given: tuple[torch.Tensor, ...]
) -> torch.Tensor:
    """Return the gradients toward a block's logits, (r, c) in the dtype of ``image``.

    Args:
        inputs: What the logits are made of.
        block: The r rows.
        given: Log sums of the rows (r,) and of the columns (c,), the gradients toward both, and
            those toward own logits (r,), all in float32.
    """
    known, sizes = _arguments(inputs, block)
    out = inputs.image.new_empty(sizes["height"], sizes["width"])
    more = (*(side.contiguous() for side in given), out)
    _gradients[grid_of(inputs, block)](*known, *more, **sizes)
    return out


def _arguments(
    inputs: LogitInputs, block: slice
) -> tuple[tuple[torch.Tensor, ...], dict[str, Any]]:
    """Return what both kernels read, and their sizes."""
    known, sizes = arguments_of(inputs, block)
    # Known positives that are positives stay in the sums, like all others.
    groups = 0 if inputs.negatives.multi_positive else sizes["GROUPS"]
    return known, {**sizes, "GROUPS": groups, "WITH_OWN": inputs.with_own}
