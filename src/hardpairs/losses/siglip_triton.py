"""The sum of SigLIP's terms as Triton kernels, which hold a tile of logits at a time.

``siglip`` has the same in plain torch, for every weight and mask. The forward pass writes three
numbers for each tile, the backward pass the gradients of the logits of a block, in the dtype of the
features, for the two products that follow. All sums are in float32.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# Parameters of compiled functions have Triton's types.

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from hardpairs.losses.block_sums import LogitInputs
from hardpairs.losses.negatives import Negatives
from hardpairs.losses.tiles_triton import arguments_of, grid_of, store_tile, tile


@triton.jit
def _log1p(x):
    """Return log(1 + x) for x from 0 to 1.

    It is 2 artanh(x / (2 + x)), by its series. The sum 1 + x would lose the x of most pairs.
    """
    part = x / (2 + x)
    s = part * part
    series = 1 / 3 + s * (1 / 5 + s * (1 / 7 + s * (1 / 9 + s * (1 / 11 + s * (1 / 13)))))
    return 2 * part * (1 + s * series)


@triton.jit
def _terms_and_slopes(logits, inside, own, known, MULTI_POSITIVE: tl.constexpr):
    """Return -log sigmoid(z l), and its derivative toward l; z is 1 for positives, else -1.

    Both are 0 for pairs that are left out.
    """
    positive, counted = own, inside & (known == 0)
    if MULTI_POSITIVE:
        positive, counted = own | known, inside
    sign = tl.where(positive, 1.0, -1.0)
    signed = sign * logits
    small = tl.exp(-tl.abs(signed))
    terms = tl.maximum(-signed, 0.0) + _log1p(small)
    slopes = -sign * tl.where(signed > 0, small, 1.0) / (1 + small)
    return tl.where(counted, terms, 0.0), tl.where(counted, slopes, 0.0)


@triton.jit
def _sums(
    image, text, scale, row_ids, column_ids, bias, parts, height, width, depth, first,
    MULTI_POSITIVE: tl.constexpr, GROUPS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    _, _, logits, inside, own, known = tile(
        image, text, scale, row_ids, column_ids, height, width, depth, first,
        GROUPS, ROWS, COLUMNS, DEPTH,
    )  # fmt: skip
    biased = logits + tl.load(bias)
    terms, slopes = _terms_and_slopes(biased, inside, own, known, MULTI_POSITIVE)
    part = parts + 3 * (tl.program_id(0) * tl.num_programs(1) + tl.program_id(1))
    tl.store(part, tl.sum(tl.sum(terms, 1), 0))
    tl.store(part + 1, tl.sum(tl.sum(slopes * logits, 1), 0))
    tl.store(part + 2, tl.sum(tl.sum(slopes, 1), 0))


@triton.jit
def _gradients(
    image, text, scale, row_ids, column_ids, bias, factor, out, height, width, depth, first,
    MULTI_POSITIVE: tl.constexpr, GROUPS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    row, column, logits, inside, own, known = tile(
        image, text, scale, row_ids, column_ids, height, width, depth, first,
        GROUPS, ROWS, COLUMNS, DEPTH,
    )  # fmt: skip
    biased = logits + tl.load(bias)
    _, slopes = _terms_and_slopes(biased, inside, own, known, MULTI_POSITIVE)
    store_tile(out, slopes * tl.load(factor), row, column, height, width)


def sums_of_block(inputs: LogitInputs, bias: torch.Tensor, block: slice) -> torch.Tensor:
    """Return the sum of a block's terms, and its derivatives toward log(scale) and bias, (3,)."""
    (known, sizes), grid = _arguments(inputs, block), grid_of(inputs, block)
    parts = torch.empty(*grid, 3, dtype=torch.float32, device=bias.device)
    _sums[grid](*known, bias.float(), parts, **sizes)
    return parts.sum((0, 1))


def gradients_of_block(
    inputs: LogitInputs, bias: torch.Tensor, block: slice, factor: torch.Tensor
) -> torch.Tensor:
    """Return ``factor`` times the gradients toward a block's logits, in the dtype of ``image``.

    Args:
        inputs: What the logits are made of.
        bias: (), added to the logits.
        block: The r rows.
        factor: (), the gradient toward the sum of terms.

    Returns:
        (r, c).
    """
    known, sizes = _arguments(inputs, block)
    out = inputs.image.new_empty(sizes["height"], sizes["width"])
    _gradients[grid_of(inputs, block)](*known, bias.float(), factor.float(), out, **sizes)
    return out


def _arguments(
    inputs: LogitInputs, block: slice
) -> tuple[tuple[torch.Tensor, ...], dict[str, Any]]:
    """Return what both kernels read, and their sizes."""
    known, sizes = arguments_of(inputs, block)
    return known, {**sizes, "MULTI_POSITIVE": inputs.negatives.multi_positive}


def sum_of_terms(
    inputs: LogitInputs, bias: torch.Tensor | None, blocks: list[slice]
) -> torch.Tensor:
    """Return the sum of SigLIP's terms of all pairs, a float32 scalar; it keeps no logits.

    Args:
        inputs: What the logits are made of.
        bias: (), added to the logits.
        blocks: The rows in blocks to work on at once.
    """
    image, text, scale = inputs.image, inputs.text, inputs.scale
    bias = torch.zeros_like(scale) if bias is None else bias
    total: torch.Tensor = _SumOfTerms.apply(image, text, scale, bias, inputs.negatives, blocks)
    return total


class _SumOfTerms(torch.autograd.Function):
    """``sum_of_terms``."""

    @staticmethod
    def forward(
        ctx: Any,
        image: torch.Tensor,
        text: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor,
        negatives: Negatives,
        blocks: list[slice],
    ) -> torch.Tensor:
        """Return the sum."""
        inputs = LogitInputs(image, text, scale, negatives)
        sums = torch.stack([sums_of_block(inputs, bias, block) for block in blocks]).sum(0)
        ctx.save_for_backward(image, text, scale, bias, sums)
        ctx.negatives, ctx.blocks = negatives, blocks
        return sums[0].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of image, text, scale and bias."""
        image, text, scale, bias, sums = ctx.saved_tensors
        inputs = LogitInputs(image, text, scale, ctx.negatives)
        grad_image = torch.empty_like(image)
        grad_text = torch.zeros_like(text, dtype=torch.float32)
        for block in ctx.blocks:
            grad_logits = gradients_of_block(inputs, bias, block, gradient)
            grad_image[block] = (grad_logits @ text) * scale
            grad_text += grad_logits.T @ image[block]
            del grad_logits  # or it would be held beside those of the next block
        grad_text = grad_text.mul_(scale).to(text.dtype)
        grad_scale = (gradient * sums[1] / scale).to(scale.dtype)
        grad_bias = (gradient * sums[2]).to(bias.dtype).view_as(bias)
        return grad_image, grad_text, grad_scale, grad_bias, None, None
