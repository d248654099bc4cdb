"""Joining the ranks' rows: the one place where losses meet torch.distributed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist


class _GatherWithGrad(torch.autograd.Function):
    """all_gather whose backward adds up what all ranks ask of a row. (torch's own differentiable one is deprecated.)"""

    @staticmethod
    def forward(ctx, rows: torch.Tensor, world: World) -> torch.Tensor:
        ctx.world = world
        return torch.cat(_gather_parts(rows, world))

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(ctx.world.world_size)[ctx.world.rank], None


def _gather_parts(rows: torch.Tensor, world: World) -> list[torch.Tensor]:
    rows = rows.detach().contiguous()
    parts = [torch.empty_like(rows) for _ in range(world.world_size)]
    dist.all_gather(parts, rows)
    return parts


@dataclass(frozen=True)
class World:
    """How a loss sees the other ranks.

    Attributes:
        local_loss: rows of this rank against all columns, instead of all rows on every rank.
        gather_with_grad: gradients flow back through the gathered rows. With both on, parameter gradients averaged over ranks are
            those of one process with the joined batch.
    """

    rank: int = 0
    world_size: int = 1
    local_loss: bool = True
    gather_with_grad: bool = True

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """All ranks' rows, rank by rank: (b, ...) -> (world_size * b, ...). The same b on every rank."""
        if self.world_size == 1:
            return rows
        if self.gather_with_grad and rows.requires_grad:
            return _GatherWithGrad.apply(rows, self)
        parts = _gather_parts(rows, self)
        if not self.local_loss:
            parts[self.rank] = rows  # keeps this rank's gradient, as OpenCLIP's gather does
        return torch.cat(parts)

    def gather_pairs(
        self, image: torch.Tensor, text: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``gather`` of two (b, D) features in one exchange: small batches wait for messages more than for bytes."""
        if self.world_size == 1:
            return image, text
        both = self.gather(torch.cat([image, text], dim=1))
        return both[:, : image.shape[1]], both[:, image.shape[1] :]

    def rows_of(self, everything: torch.Tensor) -> torch.Tensor:
        """The rows that this rank's loss is about: its own share with ``local_loss``, else all."""
        if self.world_size == 1 or not self.local_loss:
            return everything
        return everything.chunk(self.world_size)[self.rank]

    def first_row(self, local_count: int) -> int:
        """Column number of the first row that ``rows_of`` returns."""
        return self.rank * local_count if self.local_loss else 0

    def mean_over_rows(self, values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
        """Mean of ``values`` over the rows marked in ``counted``, over all ranks.

        A rank may have more such rows than another. Ranks' results are averaged by DDP, so each gives world_size * (own sum) / (count
        of all ranks), whose average is the joined mean; 0 when no rank has any.
        """
        total = counted.sum().to(values.dtype)
        if self.world_size > 1 and self.local_loss:
            dist.all_reduce(total)
            total = total / self.world_size
        return (values * counted).sum() / total.clamp(min=1e-12)
