"""A tile of logits in a Triton kernel: what the kernels of all losses share.

A program of a kernel holds one tile, and never writes its logits. The kernels know own pairs and
group ids alone: no weights, no stored features (``kernels.takes``).
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# Parameters of compiled functions have Triton's types.

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from hardpairs.losses.block_sums import LogitInputs

SHAPE = {"ROWS": 128, "COLUMNS": 128, "DEPTH": 64}
"""Rows and columns of a tile, and dimensions of the features that are multiplied at a time."""
LAUNCH = {"num_warps": 8, "num_stages": 2}


@triton.jit
def tile(
    image, text, scale, row_ids, column_ids, height, width, depth, first, GROUPS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Return a program's rows and columns, their logits, and which of these are there.

    Then which are of own pairs, and which of other known positives.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
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
    inside = (row < height)[:, None] & (column < width)[None, :]
    own = inside & (column[None, :] == first + row[:, None])
    known = tl.zeros((ROWS, COLUMNS), tl.int1)
    for group in tl.static_range(GROUPS):
        mine = tl.load(row_ids + row * GROUPS + group, mask=row < height, other=0)
        theirs = tl.load(column_ids + column * GROUPS + group, mask=column < width, other=0)
        known = known | (mine[:, None] == theirs[None, :])
    return row, column, total * tl.load(scale), inside, own, inside & known & (own == 0)


@triton.jit
def store_tile(out, values, row, column, height, width):
    """Write a tile's values into (height, width) numbers, in their dtype."""
    position = out + row.to(tl.int64)[:, None] * width + column[None, :]
    inside = (row < height)[:, None] & (column < width)[None, :]
    tl.store(position, values.to(out.dtype.element_ty), mask=inside)


def grid_of(inputs: LogitInputs, block: slice) -> tuple[int, int]:
    """Return how many tiles a block of rows has downwards and across."""
    height = block.stop - block.start
    return triton.cdiv(height, SHAPE["ROWS"]), triton.cdiv(len(inputs.text), SHAPE["COLUMNS"])


def arguments_of(
    inputs: LogitInputs, block: slice
) -> tuple[tuple[torch.Tensor, ...], dict[str, Any]]:
    """Return what all kernels read of a block, in the order of ``tile``, and their sizes."""
    rows, text, negatives = inputs.image[block], inputs.text, inputs.negatives
    mine, theirs = negatives.rows.group_ids, negatives.columns.group_ids
    # A column before all others is met by no row.
    first = negatives.first + block.start if negatives.has_own else -len(rows)
    sizes = {"height": len(rows), "width": len(text), "depth": text.shape[1], "first": first}
    sizes["GROUPS"] = 0 if mine is None else mine.shape[1]
    ids = (rows, text) if mine is None else (mine[block], theirs)  # without ids: not read
    tensors = (rows, text, inputs.scale.float(), *ids)
    return tuple(tensor.contiguous() for tensor in tensors), {**sizes, **SHAPE, **LAUNCH}
