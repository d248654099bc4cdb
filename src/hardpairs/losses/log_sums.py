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

from typing import Any

import torch
import torch.distributed as dist
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from hardpairs.losses.block_sums import (
    Kept,
    LogitInputs,
    LogSums,
    at_least_tiny,
    blocks_of,
    both_sums,
    gradients_of_sums,
)
from hardpairs.losses.gather import World
from hardpairs.losses.negatives import Negatives, PastNegatives, diagonal
from hardpairs.losses.ring import ring_log_sums


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
    In a ring it goes round.

    Args:
        image: (b, D), this rank's rows, in the dtype of the products.
        text: (b, D), likewise.
        scale: (), exponentiated logit scale.
        negatives: Weights and masks of the rows that the loss is about.
        world: How ranks are joined.
        all_text: (B, D), all ranks' ``text`` without gradient, where it has been gathered.
        block_rows: Rows of logits held at once; the backward pass computes them again. ``None``:
            all are kept, but in a ring.
        with_own: Whether a pair's own logit is in its sums. A row without any logit has a sum of
            almost 0.
    """
    if world.ring:
        return ring_log_sums(
            image, text, scale, negatives, world, block_rows=block_rows, with_own=with_own
        )
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
        diagonal(logits, first).fill_(-torch.inf)
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
        kept: Kept = []
        inputs = LogitInputs(image, all_text, scale, negatives, with_own)
        sums = both_sums(inputs, blocks, kept if block_rows is None else None)
        row_sum = at_least_tiny(sums.image)
        column_sum = at_least_tiny(sum_over_ranks(sums.text, world))
        ctx.save_for_backward(image, all_text, scale, row_sum, column_sum)
        ctx.negatives, ctx.world, ctx.blocks, ctx.kept = negatives, world, blocks, kept
        ctx.with_own = with_own
        rows = slice(negatives.first, negatives.first + len(image))
        return row_sum, column_sum[rows].clone(), sums.own

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, row_gradient: torch.Tensor, gradient: torch.Tensor, own_gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of image, text and scale."""
        image, all_text, scale, row_sum, column_sum = ctx.saved_tensors
        gradients = LogSums(row_gradient, ctx.world.gather(gradient), own_gradient)
        inputs = LogitInputs(image, all_text, scale, ctx.negatives, ctx.with_own)
        grad_image, grad_text, grad_scale = gradients_of_sums(
            inputs, ctx.blocks, (row_sum, column_sum), gradients, ctx.kept
        )
        grad_text = own_share(grad_text, ctx.world)
        return grad_image, grad_text, grad_scale.to(scale.dtype), None, None, None, None, None


def sum_over_ranks(log_sums: torch.Tensor, world: World) -> torch.Tensor:
    """Return the logarithm of the sum over ranks of exp(``log_sums``), elementwise."""
    return log_sums if world.world_size == 1 else world.gather(log_sums[None]).logsumexp(0)


def own_share(gradient: torch.Tensor, world: World) -> torch.Tensor:
    """Return the sum over ranks of this rank's rows of a (B, D) gradient toward all rows."""
    if world.world_size == 1:
        return gradient
    dist.all_reduce(gradient)
    return gradient.chunk(world.world_size)[world.rank]
