"""CLIP's two cross entropies from one product of logits: this rank's images against all texts.

ClipLoss computes image-to-text and text-to-image logits by two products, on several ranks both of
them for this rank's rows. But the columns of the image-to-text logits are pieces of the
text-to-image rows: their sums of exponentials need only be added over ranks (B numbers). So one
product serves both directions, and blocks of rows can be dropped and computed again in the backward
pass (as in Inf-CL, arXiv 2410.17243, which works on blocks in both directions; GradCache, arXiv
2101.06983, recomputes features).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch.autograd.function import once_differentiable

from hardpairs.losses.gather import World
from hardpairs.losses.negatives import Negatives, diagonal

CPU_ROWS = 256
"""Rows of logits that a CPU works on at once even where all are kept: they stay in its cache."""


def blocks_of(count: int, size: int | None, device: torch.device | None = None) -> list[slice]:
    """Return ``range(count)`` in slices of ``size``; ``None``: one slice, on a CPU several."""
    size = size or (CPU_ROWS if device is not None and device.type == "cpu" else count)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


class BlockCrossEntropy(torch.autograd.Function):
    """Mean of both directions' cross entropy over this rank's rows.

    Gradients are those of the sum of all ranks' losses. Arguments of ``apply``:

    image: (b, D), this rank's rows, in the dtype of the products.
    text: (b, D), likewise.
    scale: (), exponentiated logit scale.
    all_text: (B, D), all ranks' ``text``, without gradient.
    negatives: Weights and masks; row i of this rank has column first + i.
    world: With ``local_loss`` and ``gather_with_grad``, or one process.
    block_rows: Rows of logits held at once; ``None``: all, kept for the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any,
        image: torch.Tensor,
        text: torch.Tensor,
        scale: torch.Tensor,
        all_text: torch.Tensor,
        negatives: Negatives,
        world: World,
        block_rows: int | None,
    ) -> torch.Tensor:
        """Return the loss; keep the logits only if all rows are kept."""
        rows = slice(negatives.first, negatives.first + len(image))
        blocks = blocks_of(len(image), block_rows, image.device)
        column_sum = torch.full(all_text.shape[:1], -torch.inf, device=image.device)
        row_sums, diagonals, kept = [], [], []
        for block in blocks:
            by_row, by_column = weighted_logits(image, all_text, scale, negatives, block)
            diagonals.append(diagonal(by_row, rows.start + block.start).clone())
            row_sums.append(by_row.logsumexp(1))
            part = by_column.logsumexp(0)
            column_sum = part if block.start == 0 else torch.logaddexp(column_sum, part)
            kept.append((by_row, by_column) if block_rows is None else None)
        column_sum = sum_over_ranks(column_sum, world)
        row_sum, own = torch.cat(row_sums), torch.cat(diagonals)
        ctx.save_for_backward(image, all_text, scale, row_sum, column_sum)
        ctx.negatives, ctx.world, ctx.blocks, ctx.kept = negatives, world, blocks, kept
        return ((row_sum - own).mean() + (column_sum[rows] - own).mean()) / 2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of image, text and scale."""
        image, all_text, scale, row_sum, column_sum = ctx.saved_tensors
        grad_image, grad_text = torch.empty_like(image), torch.zeros_like(all_text)
        grad_scale = torch.zeros_like(row_sum[0])
        for block, kept in zip(ctx.blocks, ctx.kept, strict=True):
            by_row, by_column = kept or weighted_logits(
                image, all_text, scale, ctx.negatives, block
            )
            grad_logits = (by_row - row_sum[block, None]).exp_()
            grad_logits += (by_column - column_sum).exp_()
            diagonal(grad_logits, ctx.negatives.first + block.start).sub_(2)
            grad_logits = grad_logits.mul_(gradient / (2 * len(image))).to(image.dtype)
            toward_text = grad_logits @ all_text
            grad_scale += (toward_text * image[block]).sum(dtype=grad_scale.dtype)
            grad_image[block] = toward_text * scale
            grad_text += grad_logits.T @ image[block]
        grad_text = own_share(grad_text.mul_(scale), ctx.world)
        return grad_image, grad_text, grad_scale.to(scale.dtype), None, None, None, None


def weighted_logits(
    image: torch.Tensor,
    all_text: torch.Tensor,
    scale: torch.Tensor,
    negatives: Negatives,
    block: slice,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits plus log-weights of a block, for rows and for columns.

    Args:
        image: (b, D), this rank's rows.
        all_text: (B, D), all ranks' rows.
        scale: (), exponentiated logit scale.
        negatives: Weights and masks.
        block: The rows.

    Returns:
        Two (block, B) tensors in at least float32; one and the same when they are equal.
    """
    logits = image[block] @ all_text.T
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)).mul_(scale)
    by_row, by_column = negatives.log_weights_both_ways(block)
    if by_row is by_column:
        logits = logits if by_row is None else logits.add_(by_row)
        return logits, logits
    assert by_row is not None and by_column is not None
    return logits + by_row, logits.add_(by_column)


def sum_over_ranks(log_sums: torch.Tensor, world: World) -> torch.Tensor:
    """Return the logarithm of the sum over ranks of exp(``log_sums``), elementwise."""
    return log_sums if world.world_size == 1 else world.gather(log_sums[None]).logsumexp(0)


def own_share(gradient: torch.Tensor, world: World) -> torch.Tensor:
    """Return the sum over ranks of this rank's rows of a (B, D) gradient toward all rows."""
    if world.world_size == 1:
        return gradient
    dist.all_reduce(gradient)
    return gradient.chunk(world.world_size)[world.rank]
