"""Losses in a ring: rows stay where they are, and the columns of all ranks pass by in turn.

Each rank works on its own columns first, then on those of the next rank, and passes them on to the
rank before it. What the ranks add up for some columns (sums of exponentials, gradients) travels one
step behind them, and comes home with the last step. No rank holds the features of all, as with
gathered rows; the work is the same. Inf-CL (arXiv 2410.17243) goes round for the sums of its rows,
one direction after the other; here one product serves both, so that the columns' sums travel.

Every rank calls these functions at the same time, with as many rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
import torch.distributed as dist
from torch.autograd.function import once_differentiable

from hardpairs.losses.block_sums import (
    LogitInputs,
    LogSums,
    at_least_tiny,
    blocks_of,
    both_sums,
    gradients_of_sums,
)
from hardpairs.losses.gather import World
from hardpairs.losses.negatives import Negatives, log_scale

Tensors: TypeAlias = list[torch.Tensor]
Term: TypeAlias = Callable[[int, Sequence[Any], Sequence[Any]], torch.Tensor]


def exchange(tensors: Tensors, world: World) -> Callable[[], Tensors]:
    """Begin to send tensors to the rank before this one, and to receive as many of the next one.

    Args:
        tensors: Of the same shapes on all ranks.
        world: The ranks; the last one is before the first.

    Returns:
        A function that waits, and returns what the next rank has sent.
    """
    if world.world_size == 1 or not tensors:
        return lambda: tensors
    before, after = ((world.rank + step) % world.world_size for step in (-1, 1))
    outgoing = [tensor.contiguous() for tensor in tensors]
    incoming = [torch.empty_like(tensor) for tensor in outgoing]
    operations = [dist.P2POp(dist.isend, tensor, before) for tensor in outgoing]
    operations += [dist.P2POp(dist.irecv, tensor, after) for tensor in incoming]
    begun = dist.batch_isend_irecv(operations)

    def wait() -> Tensors:
        for work in begun:
            work.wait()
        operations.clear()  # they hold what was sent
        return incoming

    return wait


def go_round(
    columns: Tensors,
    work: Callable[[int, Tensors], Tensors],
    world: World,
    add: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = torch.add,
) -> Tensors:
    """Take this rank's columns past all ranks; return what these add up for them.

    While a rank works, the next columns arrive.

    Args:
        columns: This rank's columns, in tensors of the same shapes on all ranks.
        work: Takes the number of a rank and its columns; returns what this rank adds for them.
        world: The ranks.
        add: Adds up what two ranks return.
    """
    home: Callable[[], Tensors] = list
    for step in range(world.world_size):
        more = step + 1 < world.world_size
        arriving = exchange(columns, world) if more else None
        added = work((world.rank + step) % world.world_size, columns)
        if step:
            added = [add(*pair) for pair in zip(home(), added, strict=True)]
        home = exchange(added, world)
        columns = arriving() if arriving is not None else []
    return home()


def met(negatives: Negatives, rank: int, tensors: Tensors, world: World) -> Negatives:
    """Return the negatives of this rank's rows among the columns of a rank.

    Args:
        negatives: This rank's rows with its own columns.
        rank: Whose columns they are.
        tensors: That rank's ``Negatives.column_tensors``.
        world: The ranks.
    """
    return negatives if rank == world.rank else negatives.meet(tensors)


def normalize_in_ring(negatives: Negatives, world: World, blocks: list[slice]) -> None:
    """Scale the rows of this rank's negatives to mean weight 1 over the columns of all ranks.

    Args:
        negatives: This rank's rows with its own columns.
        world: The ranks.
        blocks: The rows in blocks to work on at once.
    """
    sums: list[tuple[torch.Tensor, torch.Tensor]] = []

    def work(rank: int, tensors: Tensors) -> Tensors:
        of_rank = met(negatives, rank, tensors, world)
        parts = [of_rank.sum_of_weights(block, False) for block in blocks]
        log_sums, numbers = map(torch.cat, zip(*parts, strict=True))
        sums.append((log_sums, numbers))
        return []

    go_round(negatives.column_tensors(), work, world)
    own = log_scale(sums)
    negatives.log_scales = (own, own)


def ring_log_sums(
    image: torch.Tensor,
    text: torch.Tensor,
    scale: torch.Tensor,
    negatives: Negatives,
    world: World,
    *,
    block_rows: int | None = None,
    with_own: bool = True,
) -> LogSums:
    """Return the log sums of this rank's rows over the columns of all ranks.

    The backward pass computes all logits again, and goes round once more.

    Memory beside the arguments, for any number of ranks: forward two times the columns (features
    and what weights and masks need of them), backward those and up to six (b, D) tensors of
    gradients, in at least float32; (block_rows, b) logits in both.

    Args:
        image: (b, D), this rank's rows, in the dtype of the products.
        text: (b, D), likewise.
        scale: (), exponentiated logit scale.
        negatives: Weights and masks of these rows with this rank's columns.
        world: The ranks.
        block_rows: Rows of logits held at once; ``None``: all of a pair of ranks, on a CPU fewer.
        with_own: Whether a pair's own logit is in its sums.
    """
    arguments = (image, text, scale, negatives, world, block_rows, with_own)
    return LogSums(*_RingLogSums.apply(*arguments))


class _RingLogSums(torch.autograd.Function):
    """``ring_log_sums``. Gradients are those of the sum of all ranks' losses."""

    @staticmethod
    def forward(
        ctx: Any,
        image: torch.Tensor,
        text: torch.Tensor,
        scale: torch.Tensor,
        negatives: Negatives,
        world: World,
        block_rows: int | None,
        with_own: bool,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the log sums; keep no logits."""
        blocks = blocks_of(len(image), block_rows, image.device)
        met_sums: list[LogSums] = []

        def work(rank: int, columns: Tensors) -> Tensors:
            of_rank = met(negatives, rank, columns[1:], world)
            sums = both_sums(LogitInputs(image, columns[0], scale, of_rank, with_own), blocks)
            met_sums.append(sums)
            return [sums.text]

        columns = [text, *negatives.column_tensors()]
        (column_sum,) = map(at_least_tiny, go_round(columns, work, world, torch.logaddexp))
        row_sum = at_least_tiny(torch.stack([sums.image for sums in met_sums]).logsumexp(0))
        ctx.save_for_backward(image, text, scale, row_sum, column_sum)
        ctx.negatives, ctx.world, ctx.blocks, ctx.with_own = negatives, world, blocks, with_own
        return row_sum, column_sum, met_sums[0].own

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, row_gradient: torch.Tensor, gradient: torch.Tensor, own_gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of image, text and scale."""
        image, text, scale, row_sum, column_sum = ctx.saved_tensors
        negatives, world = ctx.negatives, ctx.world
        grad_image, grad_scale = wide(torch.zeros_like(image)), torch.zeros_like(row_sum[0])

        def work(rank: int, columns: Tensors) -> Tensors:
            their_text, their_sum, their_gradient, *tensors = columns
            of_rank = met(negatives, rank, tensors, world)
            of_image, of_text, of_scale = gradients_of_sums(
                LogitInputs(image, their_text, scale, of_rank, ctx.with_own),
                ctx.blocks,
                (row_sum, their_sum),
                LogSums(row_gradient, their_gradient, own_gradient),
            )
            grad_image.add_(of_image)
            grad_scale.add_(of_scale)
            return [wide(of_text)]

        columns = [text, column_sum, gradient, *negatives.column_tensors()]
        (grad_text,) = go_round(columns, work, world)
        gradients = (grad_image.to(image.dtype), grad_text.to(text.dtype))
        return *gradients, grad_scale.to(scale.dtype), None, None, None, None


def ring_sum(
    term: Term, rows: Sequence[torch.Tensor | None], columns: Tensors, world: World
) -> torch.Tensor:
    """Return the sum over ranks of a function of this rank's rows and the columns of a rank.

    The backward pass computes the function again, and goes round once more. Memory beside the
    function's own: as for ``ring_log_sums``, for the columns that get a gradient.

    Args:
        term: Takes the number of a rank, ``rows``, and that rank's columns; returns a tensor of the
            same shape for each rank.
        rows: What stays: tensors, with gradients where they require one, or ``None``.
        columns: What travels. The same ones require gradients on all ranks.
        world: The ranks.
    """
    total: torch.Tensor = _RingSum.apply(term, world, len(rows), *rows, *columns)
    return total


class _RingSum(torch.autograd.Function):
    """``ring_sum``. Gradients are those of the sum of all ranks' losses."""

    @staticmethod
    def forward(
        ctx: Any, term: Term, world: World, count: int, *tensors: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the sum; keep nothing that the function computes on its way."""
        terms: Tensors = []

        def work(rank: int, columns: Tensors) -> Tensors:
            terms.append(term(rank, tensors[:count], columns))
            return []

        go_round([tensor for tensor in tensors[count:] if tensor is not None], work, world)
        ctx.save_for_backward(*tensors)
        ctx.term, ctx.world, ctx.count = term, world, count
        ctx.autocast = autocast_of(terms[0].device.type)
        return torch.stack(terms).sum(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of the rows and columns that need them."""
        count, needed = ctx.count, ctx.needs_input_grad[3:]
        rows = _leaves(ctx.saved_tensors[:count], needed)
        row_leaves = [row for row, needs in zip(rows, needed, strict=False) if needs]
        row_gradients = [wide(torch.zeros_like(row)) for row in row_leaves]

        def work(rank: int, columns: Tensors) -> Tensors:
            columns = _leaves(columns, needed[count:])
            leaves = [column for column in columns if column.requires_grad]
            with torch.enable_grad(), ctx.autocast():
                value = ctx.term(rank, rows, columns)
            gradients = torch.autograd.grad(value, [*row_leaves, *leaves], gradient)
            for total, part in zip(row_gradients, gradients, strict=False):
                total.add_(part)
            return [wide(part) for part in gradients[len(row_leaves) :]]

        found = iter([*row_gradients, *go_round(list(ctx.saved_tensors[count:]), work, ctx.world)])
        dtypes = [None if tensor is None else tensor.dtype for tensor in ctx.saved_tensors]
        return (
            None,
            None,
            None,
            *(
                next(found).to(dtype) if needs else None
                for needs, dtype in zip(needed, dtypes, strict=True)
            ),
        )


def _leaves(tensors: Sequence[Any], needed: Sequence[bool]) -> list[Any]:
    """Return tensors that collect gradients where they are needed, the others as they are."""
    return [
        tensor.detach().requires_grad_() if needs else tensor
        for tensor, needs in zip(tensors, needed, strict=False)
    ]


def autocast_of(device: str) -> Callable[[], torch.autocast]:
    """Return what brings back the present state of autocast on a kind of device."""
    dtype, enabled = torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
    return partial(torch.autocast, device, dtype, enabled)


def wide(values: torch.Tensor) -> torch.Tensor:
    """Return values in at least float32: sums over many ranks lose too much in half precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
