"""Log sums of logits, the core of softmax losses, from one product for both directions.

Image i has the logits l_ij, and each j a weight w_ij. Its log sum is the logarithm of the sum over
j of w_ij e^l_ij; that of text i is the same over images. CLIP's loss of a pair is its log sum minus
its own logit, in both directions.

ClipLoss computes image-to-text and text-to-image logits by two products, on several ranks both of
them for this rank's rows. But the columns of the image-to-text logits are pieces of the
text-to-image rows: their sums of exponentials need only be added over ranks (B numbers). So one
product serves both directions, and blocks of rows can be dropped and computed again in the backward
pass (as in Inf-CL, arXiv 2410.17243, which works on blocks in both directions; GradCache, arXiv
2101.06983, recomputes features).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from hardpairs.losses.gather import World
from hardpairs.losses.negatives import Negatives, PastNegatives, diagonal

CPU_ROWS = 256
"""Rows of logits that a CPU works on at once even where all are kept: they stay in its cache."""


def blocks_of(count: int, size: int | None, device: torch.device | None = None) -> list[slice]:
    """Return ``range(count)`` in slices of ``size``; ``None``: one slice, on a CPU several."""
    size = size or (CPU_ROWS if device is not None and device.type == "cpu" else count)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


class LogSums(NamedTuple):
    """Log sums of b pairs, and their own logits, each (b,) in at least float32.

    Attributes:
        image: Of each image, over the texts.
        text: Of each text, over the images.
        own: Logit of each pair. It has the rounding of the logits in the sums.
    """

    image: torch.Tensor
    text: torch.Tensor
    own: torch.Tensor

    def with_past(self, of_image: torch.Tensor, of_text: torch.Tensor) -> LogSums:
        """Return the log sums over further columns, too, whose own sums are given."""
        image, text = self.image.logaddexp(of_image), self.text.logaddexp(of_text)
        return self._replace(image=image, text=text)

    def cross_entropy(self) -> torch.Tensor:
        """Return the mean of both directions' cross entropy, a scalar."""
        return ((self.image - self.own).mean() + (self.text - self.own).mean()) / 2


def log_sums(
    image: torch.Tensor,
    text: torch.Tensor,
    scale: torch.Tensor,
    negatives: Negatives,
    world: World,
    *,
    all_text: torch.Tensor | None = None,
    block_rows: int | None = None,
    with_own: bool = True,
) -> LogSums:
    """Return the log sums of the rows that this rank's loss is about.

    It takes two products where OpenCLIP's flags ask for its own partial gradients on several ranks.

    Args:
        image: (b, D), this rank's rows, in the dtype of the products.
        text: (b, D), likewise.
        scale: (), exponentiated logit scale.
        negatives: Weights and masks of the rows that the loss is about.
        world: How ranks are joined.
        all_text: (B, D), all ranks' ``text`` without gradient, where it has been gathered.
        block_rows: Rows of logits held at once; the backward pass computes them again. ``None``:
            all are kept.
        with_own: Whether a pair's own logit is in its sums. A row without any logit has a sum of
            almost 0.
    """
    if world.is_joined:
        all_text = world.gather(text.detach()) if all_text is None else all_text
        arguments = (image, text, scale, all_text, negatives, world, block_rows, with_own)
        return LogSums(*OneProduct.apply(*arguments))
    all_image, all_text = world.gather_pairs(image, text)
    if not world.local_loss:
        image, text = all_image, all_text
    log_weights = negatives.log_weights(slice(0, len(image)))
    known = (scale, log_weights, negatives.first, with_own)
    of_image, to_text = one_product_each(image, all_text, *known)
    of_text, to_image = one_product_each(text, all_image, *known)
    # Equal numbers, of which each may lack a part of the gradient.
    return LogSums(of_image, of_text, (to_text + to_image) / 2)


def one_product_each(
    rows: torch.Tensor,
    others: torch.Tensor,
    scale: torch.Tensor,
    log_weights: torch.Tensor | None,
    first: int,
    with_own: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log sums of one direction, and the own pairs' logits, with autograd's own gradients.

    Args:
        rows: (b, D), the rows.
        others: (B, D), all rows of the other modality.
        scale: (), exponentiated logit scale.
        log_weights: (b, B), added to the logits; ``None``: 0.
        first: Column of row 0's own pair.
        with_own: Whether own pairs are in the sums.
    """
    logits = scale * rows @ others.T
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    own = diagonal(logits, first)
    logits = logits if log_weights is None else logits + log_weights
    if not with_own:
        logits = logits.clone()
        drop_own(logits, first)
    return at_least_tiny(logits).logsumexp(1), own


def past_log_sums(
    image: torch.Tensor,
    text: torch.Tensor,
    scale: torch.Tensor,
    past: list[PastNegatives],
    *,
    block_rows: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log sums of images and texts over the columns of past batches, (b,) each.

    The columns get no gradient. One past batch is worked on at a time.

    Args:
        image: (b, D), this rank's rows, in the dtype of the products.
        text: (b, D), likewise.
        scale: (), exponentiated logit scale.
        past: Weights and masks of the rows with each past batch, of which there is at least one.
        block_rows: As for ``log_sums``.
    """
    sums = []
    for block in blocks_of(len(image), block_rows, image.device):
        parts = []
        for negatives in past:
            arguments = (image[block], text[block], scale, negatives, block)
            parts.append(
                _past_block(*arguments)
                if block_rows is None
                else checkpoint(_past_block, *arguments, use_reentrant=False)
            )
        sums.append(torch.stack(parts).logsumexp(0))
    of_image, of_text = torch.cat(sums, dim=1)
    return of_image, of_text


def _past_block(
    image: torch.Tensor,
    text: torch.Tensor,
    scale: torch.Tensor,
    negatives: PastNegatives,
    block: slice,
) -> torch.Tensor:
    """Return the log sums of a block of rows over one past batch, (2, block)."""
    with torch.no_grad():
        log_weights = negatives.log_weights(block)
        assert log_weights is not None
        # A row of -inf alone would have no gradient; next to these numbers a logit is nothing.
        log_weights = log_weights.clamp_(min=torch.finfo(log_weights.dtype).min / 2)
    batch, sums = negatives.batch, []
    for rows, columns in ((image, batch.text), (text, batch.image)):
        logits = (rows * scale).to(rows.dtype) @ columns.to(rows.dtype).T
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if negatives.hardness:
            logits = logits + logits.detach() * (negatives.hardness / scale.detach())
        sums.append((logits + log_weights).logsumexp(1))
    return torch.stack(sums)


class OneProduct(torch.autograd.Function):
    """``log_sums`` by one product: this rank's images against all texts.

    Gradients are those of the sum of all ranks' losses. Arguments of ``apply``, beside those of
    ``log_sums``:

    all_text: (B, D), all ranks' ``text``, without gradient.
    negatives: Weights and masks; row i of this rank has column first + i.
    world: With ``local_loss`` and ``gather_with_grad``, or one process.
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
        with_own: bool,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the log sums; keep the logits only if all rows are kept."""
        blocks = blocks_of(len(image), block_rows, image.device)
        # Nothing that stays is allocated between the logits of two blocks: on a CPU it would keep
        # the next ones out of the freed memory.
        dtype = torch.promote_types(image.dtype, torch.float32)
        row_sum, own = (image.new_empty(len(image), dtype=dtype) for _ in range(2))
        column_sum = image.new_full(all_text.shape[:1], -torch.inf, dtype=dtype)
        kept = []
        for block in blocks:
            by_row, by_column = weighted_logits(image, all_text, scale, negatives, block)
            own[block] = diagonal(by_row, negatives.first + block.start)
            if not with_own:
                for logits in (by_row, by_column):
                    drop_own(logits, negatives.first + block.start)
            row_sum[block] = by_row.logsumexp(1)
            part = by_column.logsumexp(0)
            if block.start:
                torch.logaddexp(column_sum, part, out=column_sum)
            else:
                column_sum.copy_(part)
            kept.append((by_row, by_column) if block_rows is None else None)
        row_sum = at_least_tiny(row_sum)
        column_sum = at_least_tiny(sum_over_ranks(column_sum, world))
        ctx.save_for_backward(image, all_text, scale, row_sum, column_sum)
        ctx.negatives, ctx.world, ctx.blocks, ctx.kept = negatives, world, blocks, kept
        ctx.with_own = with_own
        rows = slice(negatives.first, negatives.first + len(image))
        return row_sum, column_sum[rows].clone(), own

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, row_gradient: torch.Tensor, gradient: torch.Tensor, own_gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of image, text and scale."""
        image, all_text, scale, row_sum, column_sum = ctx.saved_tensors
        column_gradient = ctx.world.gather(gradient)
        grad_image, grad_text = torch.empty_like(image), torch.zeros_like(all_text)
        grad_scale = torch.zeros_like(row_sum[0])
        for block, kept in zip(ctx.blocks, ctx.kept, strict=True):
            first = ctx.negatives.first + block.start
            by_row, by_column = kept or weighted_logits(
                image, all_text, scale, ctx.negatives, block
            )
            if not ctx.with_own:
                for logits in (by_row, by_column):
                    drop_own(logits, first)
            grad_logits = (by_row - row_sum[block, None]).exp_().mul_(row_gradient[block, None])
            grad_logits.addcmul_((by_column - column_sum).exp_(), column_gradient)
            diagonal(grad_logits, first).add_(own_gradient[block])
            grad_logits = grad_logits.to(image.dtype)
            toward_text = grad_logits @ all_text
            grad_scale += (toward_text * image[block]).sum(dtype=grad_scale.dtype)
            grad_image[block] = toward_text * scale
            grad_text += grad_logits.T @ image[block]
        grad_text = own_share(grad_text.mul_(scale), ctx.world)
        return grad_image, grad_text, grad_scale.to(scale.dtype), None, None, None, None, None


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
    if negatives.hardness:
        negatives.harden(logits, scale, block)
    by_row, by_column = negatives.log_weights_both_ways(block)
    if by_row is by_column:
        logits = logits if by_row is None else logits.add_(by_row)
        return logits, logits
    assert by_row is not None and by_column is not None
    return logits + by_row, logits.add_(by_column)


def drop_own(logits: torch.Tensor, first: int) -> None:
    """Take own pairs out of a block's logits, in place; row 0 has column ``first``."""
    diagonal(logits, first).fill_(-torch.inf)


def at_least_tiny(logs: torch.Tensor) -> torch.Tensor:
    """Return logarithms with the least finite number in place of -inf, whose gradient is nan."""
    return logs.clamp(min=torch.finfo(logs.dtype).min)


def sum_over_ranks(log_sums: torch.Tensor, world: World) -> torch.Tensor:
    """Return the logarithm of the sum over ranks of exp(``log_sums``), elementwise."""
    return log_sums if world.world_size == 1 else world.gather(log_sums[None]).logsumexp(0)


def own_share(gradient: torch.Tensor, world: World) -> torch.Tensor:
    """Return the sum over ranks of this rank's rows of a (B, D) gradient toward all rows."""
    if world.world_size == 1:
        return gradient
    dist.all_reduce(gradient)
    return gradient.chunk(world.world_size)[world.rank]
