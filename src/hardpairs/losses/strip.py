"""CLIP's two cross entropies from one strip of logits: this rank's images against all texts.

ClipLoss computes image-to-text and text-to-image logits by two products, and on several ranks both of them for this rank's rows. But
the columns of the image-to-text strip are pieces of the text-to-image rows: their sums of exponentials need only be added up over
ranks (B numbers). So one product serves both ways, and blocks of rows can be forgotten and computed again in the backward (as in
Inf-CL, arXiv 2410.17243, which tiles both ways; GradCache, arXiv 2101.06983, which recomputes features).
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch.autograd.function import once_differentiable

from hardpairs.losses.gather import World
from hardpairs.losses.negatives import Negatives, diagonal

CPU_ROWS = 256
"""Rows of logits that a CPU works on at a time even where all are kept: what follows a product then finds it in the cache."""


def blocks_of(count: int, size: int | None, device: torch.device | None = None) -> list[slice]:
    """``range(count)`` in slices of ``size``; ``None``: one, on a CPU some."""
    size = size or (CPU_ROWS if device is not None and device.type == "cpu" else count)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


class StripCrossEntropy(torch.autograd.Function):
    """Mean of both ways' cross entropy over this rank's rows; gradients are those of the sum of all ranks' losses.

    Args of ``apply``:
        image, text: (b, D) this rank's rows, in the dtype of the products.
        scale: () exponentiated logit scale.
        all_text: (B, D) all ranks' ``text``, without gradient.
        negatives: weights and masks; row i of this rank is column first + i.
        world: with ``local_loss`` and ``gather_with_grad``, or one process.
        block_rows: rows of logits that are held at once; ``None``: all, kept for the backward.
    """

    @staticmethod
    def forward(
        ctx,
        image,
        text,
        scale,
        all_text,
        negatives: Negatives,
        world: World,
        block_rows: int | None,
    ):
        rows, blocks = (
            slice(negatives.first, negatives.first + len(image)),
            blocks_of(len(image), block_rows, image.device),
        )
        row_sums, own, column_sum, kept = [], [], None, []
        for block in blocks:
            by_row, by_column = weighted_logits(image, all_text, scale, negatives, block)
            own.append(diagonal(by_row, rows.start + block.start).clone())
            row_sums.append(by_row.logsumexp(1))
            part = by_column.logsumexp(0)
            column_sum = part if column_sum is None else torch.logaddexp(column_sum, part)
            kept.append((by_row, by_column) if block_rows is None else None)
        column_sum = sum_over_ranks(column_sum, world)
        row_sum, own = torch.cat(row_sums), torch.cat(own)
        ctx.save_for_backward(image, all_text, scale, row_sum, column_sum)
        ctx.negatives, ctx.world, ctx.blocks, ctx.kept = negatives, world, blocks, kept
        return ((row_sum - own).mean() + (column_sum[rows] - own).mean()) / 2

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
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
    image, all_text, scale, negatives: Negatives, block: slice
) -> tuple[torch.Tensor, torch.Tensor]:
    """(block, B) logits plus log-weights in at least float32, for rows and for columns; one tensor when the two are equal."""
    logits = image[block] @ all_text.T
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)).mul_(scale)
    by_row, by_column = negatives.log_weights_both_ways(block)
    if by_row is by_column:
        logits = logits if by_row is None else logits.add_(by_row)
        return logits, logits
    return logits + by_row, logits.add_(by_column)


def sum_over_ranks(log_sums: torch.Tensor, world: World) -> torch.Tensor:
    """Logarithm of the sum over ranks of exp(``log_sums``), elementwise."""
    return log_sums if world.world_size == 1 else world.gather(log_sums[None]).logsumexp(0)


def own_share(gradient: torch.Tensor, world: World) -> torch.Tensor:
    """Of a (B, D) gradient toward all rows, the sum over ranks of this rank's rows."""
    if world.world_size == 1:
        return gradient
    dist.all_reduce(gradient)
    return gradient.chunk(world.world_size)[world.rank]
