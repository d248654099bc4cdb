"""Log sums of some logits, in both directions at once, and their gradients.

The logits are those of this rank's images with some texts: all of the global batch, or those that
another rank has sent (``ring.py``). Work goes by blocks of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple, TypeAlias

import torch

from hardpairs.losses.kernels import use_kernels
from hardpairs.losses.negatives import Negatives

Kept: TypeAlias = list[tuple[torch.Tensor, torch.Tensor]]
"""Logits of blocks, for rows and for columns."""

CPU_ROWS = 256
"""Rows of logits that a CPU works on at once even where all are kept: they stay in its cache."""


def blocks_of(count: int, size: int | None, device: torch.device | None = None) -> list[slice]:
    """Return ``range(count)`` in slices of ``size``; ``None``: one slice, on a CPU several."""
    size = size or (CPU_ROWS if device is not None and device.type == "cpu" else count)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


@dataclass(frozen=True, eq=False)
class LogitInputs:
    """The tensors that logits of some images with some texts follow from.

    Attributes:
        image: (b, D), this rank's rows.
        text: (c, D), the columns.
        scale: (), exponentiated logit scale.
        negatives: Weights and masks of the rows with these columns.
        with_own: Whether a pair's own logit is in its sums.
    """

    image: torch.Tensor
    text: torch.Tensor
    scale: torch.Tensor
    negatives: Negatives
    with_own: bool = True

    def logits(self, block: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits plus log-weights of a block of r rows, for rows and for columns.

        Returns:
            Two (r, c) tensors in at least float32; one and the same when they are equal.
        """
        logits = self.image[block] @ self.text.T
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32)).mul_(self.scale)
        if self.negatives.hardness:
            self.negatives.harden(logits, self.scale, block)
        by_row, by_column = self.negatives.log_weights_both_ways(block)
        if by_row is by_column:
            logits = logits if by_row is None else logits.add_(by_row)
            return logits, logits
        assert by_row is not None and by_column is not None
        return logits + by_row, logits.add_(by_column)

    def drop_own(self, block: slice, *logits: torch.Tensor) -> None:
        """Take own pairs out of a block's logits, in place, unless they are in the sums."""
        for values in () if self.with_own else logits:
            self.negatives.own(values, block).fill_(-torch.inf)


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


def kernels_for(inputs: LogitInputs) -> ModuleType | None:
    """Return Triton's forms of the functions of a block, where they are asked for and fit."""
    if not use_kernels(inputs.image, inputs.negatives):
        return None
    from hardpairs.losses import block_sums_triton

    return block_sums_triton


def both_sums(inputs: LogitInputs, blocks: list[slice], kept: Kept | None = None) -> LogSums:
    """Return the log sums of each image over some texts, and of each of these texts over images.

    Args:
        inputs: What the logits are made of.
        blocks: The rows in blocks to work on at once.
        kept: Gets the logits of each block, where they are to be kept.

    Returns:
        (b,), (c,), and the logits of own pairs (b,): 0 where the columns hold none.
    """
    kernels, image = kernels_for(inputs) if kept is None else None, inputs.image
    # Nothing that stays is allocated between the logits of two blocks: on a CPU it would keep
    # the next ones out of the freed memory.
    dtype = torch.promote_types(image.dtype, torch.float32)
    row_sum, own = (image.new_zeros(len(image), dtype=dtype) for _ in range(2))
    column_sum = image.new_full(inputs.text.shape[:1], -torch.inf, dtype=dtype)
    for block in blocks:
        row_sum[block], column, logit = (
            kernels.sums_of_block(inputs, block) if kernels else sums_of_block(inputs, block, kept)
        )
        own[block][: len(logit)] = logit
        if block.start:
            torch.logaddexp(column_sum, column, out=column_sum)
        else:
            column_sum.copy_(column)
    return LogSums(row_sum, column_sum, own)


def sums_of_block(
    inputs: LogitInputs, block: slice, kept: Kept | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return log sums of a block's rows (r,) and of the columns over them (c,), and own logits."""
    by_row, by_column = inputs.logits(block)
    own = inputs.negatives.own(by_row, block).clone()
    inputs.drop_own(block, by_row, by_column)
    if kept is not None:
        kept.append((by_row, by_column))
    return by_row.logsumexp(1), by_column.logsumexp(0), own


def gradients_of_sums(
    inputs: LogitInputs,
    blocks: list[slice],
    sums: tuple[torch.Tensor, torch.Tensor],
    gradients: LogSums,
    kept: Kept | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of what ``both_sums`` returned.

    Args:
        inputs: As for ``both_sums``.
        blocks: As for ``both_sums``.
        sums: (b,) log sums of images over all columns, and (c,) of texts over all rows, which may
            be more than those at hand.
        gradients: Gradients toward the sums of images (b,), of texts (c,), and own logits (b,).
        kept: The logits of each block; empty or ``None``: they are computed again.

    Returns:
        Gradients toward ``image`` (b, D), ``text`` (c, D) and ``scale`` ().
    """
    kernels = None if kept else kernels_for(inputs)
    image, text, scale = inputs.image, inputs.text, inputs.scale
    (row_sum, column_sum), (of_rows, of_columns, of_own) = sums, gradients
    grad_scale = torch.zeros_like(row_sum[0])
    # Sums over many blocks would lose the small terms in the dtype of low precision.
    grad_image, grad_text = torch.empty_like(image), torch.zeros_like(text, dtype=grad_scale.dtype)
    for number, block in enumerate(blocks):
        given = (row_sum[block], column_sum, of_rows[block], of_columns, of_own[block])
        grad_logits = (
            kernels.gradients_of_block(inputs, block, given)
            if kernels
            else gradients_of_block(inputs, block, given, kept[number] if kept else None)
        )
        toward_text = grad_logits @ text
        grad_scale += (toward_text * image[block]).sum(dtype=grad_scale.dtype)
        grad_image[block] = toward_text * scale
        grad_text += grad_logits.T @ image[block]
        del grad_logits  # or it would be held beside those of the next block
    return grad_image, grad_text.mul_(scale).to(text.dtype), grad_scale


def gradients_of_block(
    inputs: LogitInputs,
    block: slice,
    given: tuple[torch.Tensor, ...],
    logits: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Return the gradients toward a block's logits, (r, c) in the dtype of ``image``.

    Args:
        inputs: As for ``both_sums``.
        block: The r rows.
        given: Log sums of the rows (r,) and of the columns (c,), the gradients toward both, and
            those toward own logits (r,).
        logits: The block's logits; ``None``: they are computed again.
    """
    row_sum, column_sum, of_rows, of_columns, of_own = given
    by_row, by_column = logits or inputs.logits(block)
    inputs.drop_own(block, by_row, by_column)
    gradient = (by_row - row_sum[:, None]).exp_().mul_(of_rows[:, None])
    gradient.addcmul_((by_column - column_sum).exp_(), of_columns)
    own = inputs.negatives.own(gradient, block)
    own.add_(of_own[: len(own)])
    return gradient.to(inputs.image.dtype)


def at_least_tiny(logs: torch.Tensor) -> torch.Tensor:
    """Return logarithms with the least finite number in place of -inf, whose gradient is nan."""
    return logs.clamp(min=torch.finfo(logs.dtype).min)
