"""Log sums of a block and their gradients as Triton kernels, which hold a tile of logits at a time.

``block_sums`` has the same in plain torch, for every loss. The kernels know group ids and own pairs
alone: no weights, no stored features. The logits are never written: the forward pass writes a log
sum for each row and each column of a tile, the backward pass the gradients of the logits, in the
dtype of the features, for the two products that follow.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# Parameters of compiled functions have Triton's types.

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from hardpairs.losses.negatives import Negatives, NegativesOnly

SHAPE = {"ROWS": 128, "COLUMNS": 128, "DEPTH": 64}
"""Rows and columns of a tile, and dimensions of the features that are multiplied at a time."""
LAUNCH = {"num_warps": 8, "num_stages": 2}


def takes(image: torch.Tensor, negatives: Negatives) -> bool:
    """Return whether the kernels know these negatives, and are meant for the features.

    Of float32 features they would multiply without tensor cores.
    """
    return (
        image.is_cuda
        and image.dtype in (torch.bfloat16, torch.float16)
        and type(negatives) in (Negatives, NegativesOnly)
        and negatives.columns.duplicate_features is None
        and not (negatives.weights or negatives.hardness)
        and not (negatives.guided or negatives.multi_positive)
    )


@triton.jit
def _logits(
    image, text, scale, row_ids, column_ids, height, width, depth, first, row, column,
    WITH_OWN: tl.constexpr, GROUPS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Return a tile's logits, those with -inf where a pair is left out, and which are own pairs."""
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, depth, DEPTH):
        at = start + tl.arange(0, DEPTH)
        rows = tl.load(
            image + row.to(tl.int64)[:, None] * depth + at[None, :],
            mask=(row < height)[:, None] & (at < depth)[None, :],
            other=0,
        )
        columns = tl.load(
            text + column.to(tl.int64)[None, :] * depth + at[:, None],
            mask=(column < width)[None, :] & (at < depth)[:, None],
            other=0,
        )
        total = tl.dot(rows, columns, total, input_precision="ieee")
    logits = total * tl.load(scale)
    kept = (row < height)[:, None] & (column < width)[None, :]
    own = kept & (column[None, :] == first + row[:, None])
    for group in tl.static_range(GROUPS):
        mine = tl.load(row_ids + row * GROUPS + group, mask=row < height, other=0)
        theirs = tl.load(column_ids + column * GROUPS + group, mask=column < width, other=0)
        kept = kept & ((mine[:, None] != theirs[None, :]) | own)
    if not WITH_OWN:
        kept = kept & (own == 0)
    return logits, tl.where(kept, logits, float("-inf")), own


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
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    logits, kept, own = _logits(
        image, text, scale, row_ids, column_ids, height, width, depth, first, row, column,
        WITH_OWN, GROUPS, ROWS, COLUMNS, DEPTH,
    )  # fmt: skip
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
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    _, kept, own = _logits(
        image, text, scale, row_ids, column_ids, height, width, depth, first, row, column,
        WITH_OWN, GROUPS, ROWS, COLUMNS, DEPTH,
    )  # fmt: skip
    inside, within = row < height, column < width
    row_sum = tl.load(row_sums + row, mask=inside, other=0)[:, None]
    column_sum = tl.load(column_sums + column, mask=within, other=0)[None, :]
    toward_row = tl.load(row_gradients + row, mask=inside, other=0)[:, None]
    toward_column = tl.load(column_gradients + column, mask=within, other=0)[None, :]
    toward_own = tl.load(own_gradients + row, mask=inside, other=0)[:, None]
    gradient = tl.exp(kept - row_sum) * toward_row + tl.exp(kept - column_sum) * toward_column
    gradient += tl.where(own, toward_own, 0.0)
    position = out + row.to(tl.int64)[:, None] * width + column[None, :]
    tl.store(position, gradient.to(out.dtype.element_ty), mask=inside[:, None] & within[None, :])


def sums_of_block(
    image: torch.Tensor,
    text: torch.Tensor,
    scale: torch.Tensor,
    negatives: Negatives,
    block: slice,
    with_own: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return log sums of a block's rows (r,), of the columns over them (c,), and own logits (r,).

    Args:
        image: (b, D), this rank's rows.
        text: (c, D), the columns.
        scale: (), exponentiated logit scale.
        negatives: Masks of the rows with these columns.
        block: The r rows.
        with_own: Whether a pair's own logit is in its sums.
    """
    rows, (down, across) = image[block], _grid(block, text)
    row_parts = text.new_empty(across, len(rows), dtype=torch.float32)
    column_parts = text.new_empty(down, len(text), dtype=torch.float32)
    own = text.new_zeros(len(rows), dtype=torch.float32)
    known, sizes = _arguments(rows, text, scale, negatives, block, with_own)
    _sums[(down, across)](*known, row_parts, column_parts, own, **sizes)
    return row_parts.logsumexp(0), column_parts.logsumexp(0), own


def gradients_of_block(
    image: torch.Tensor,
    text: torch.Tensor,
    scale: torch.Tensor,
    negatives: Negatives,
    block: slice,
    with_own: bool,
    sums_and_gradients: tuple[torch.Tensor, ...],
) -> torch.Tensor:
    """Return the gradients toward a block's logits, (r, c) in the dtype of ``image``.

    Args:
        image: As for ``sums_of_block``.
        text: As for ``sums_of_block``.
        scale: As for ``sums_of_block``.
        negatives: As for ``sums_of_block``.
        block: As for ``sums_of_block``.
        with_own: As for ``sums_of_block``.
        sums_and_gradients: Log sums of the rows (r,) and of the columns (c,), the gradients toward
            both, and those toward own logits (r,), all in float32.
    """
    rows, grid = image[block], _grid(block, text)
    out = image.new_empty(len(rows), len(text))
    known, sizes = _arguments(rows, text, scale, negatives, block, with_own)
    _gradients[grid](*known, *(side.contiguous() for side in sums_and_gradients), out, **sizes)
    return out


def _grid(block: slice, text: torch.Tensor) -> tuple[int, int]:
    height = block.stop - block.start
    return triton.cdiv(height, SHAPE["ROWS"]), triton.cdiv(len(text), SHAPE["COLUMNS"])


def _arguments(
    rows: torch.Tensor,
    text: torch.Tensor,
    scale: torch.Tensor,
    negatives: Negatives,
    block: slice,
    with_own: bool,
) -> tuple[tuple[torch.Tensor, ...], dict[str, Any]]:
    """Return what both kernels read, and their sizes."""
    mine, theirs = negatives.rows.group_ids, negatives.columns.group_ids
    # A column before all others is met by no row.
    first = negatives.first + block.start if negatives.has_own else -len(rows)
    sizes = {"height": len(rows), "width": len(text), "depth": text.shape[1], "first": first}
    sizes |= {"WITH_OWN": with_own, "GROUPS": 0 if mine is None else mine.shape[1]}
    ids = (rows, text) if mine is None else (mine[block], theirs)  # without ids: not read
    tensors = (rows, text, scale.float(), *ids)
    return tuple(tensor.contiguous() for tensor in tensors), {**sizes, **SHAPE, **LAUNCH}
