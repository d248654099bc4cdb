"""Join the ranks' rows: the one place where losses use torch.distributed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist


class _GatherWithGrad(torch.autograd.Function):
    """all_gather whose backward pass sums the ranks' gradients of each row.

    The differentiable all_gather of torch itself is deprecated.
    """

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, world: World) -> torch.Tensor:
        ctx.world = world
        return torch.cat(_gather_parts(rows, world))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
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
    """Describe how ranks are joined in a loss.

    Attributes:
        rank: This process.
        world_size: Number of processes.
        local_loss: Whether a rank's loss is about its own rows against all columns, instead of all
            rows on every rank.
        gather_with_grad: Whether gradients flow back through the gathered rows. With both on,
            parameter gradients averaged over ranks are those of one process with the joined batch.
        ring: Whether the ranks' rows pass by in turn (``ring.py``) instead of being gathered, so
            that no rank holds all of them.

    Raises:
        ValueError: For a ring without both flags.
    """

    rank: int = 0
    world_size: int = 1
    local_loss: bool = True
    gather_with_grad: bool = True
    ring: bool = False

    def __post_init__(self) -> None:
        if self.ring and not self.is_joined:
            raise ValueError("a `ring` needs `local_loss` and `gather_with_grad` on several ranks")

    @property
    def here(self) -> World:
        """The ranks whose rows a loss has at once: in a ring this process alone."""
        return World() if self.ring else self

    @property
    def is_joined(self) -> bool:
        """True if gradients averaged over ranks are those of one process with the joined batch."""
        return self.world_size == 1 or (self.local_loss and self.gather_with_grad)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """Return all ranks' rows, rank by rank: (b, ...) -> (world_size * b, ...).

        b is the same on every rank.
        """
        if self.world_size == 1:
            return rows
        if self.gather_with_grad and rows.requires_grad:
            everything: torch.Tensor = _GatherWithGrad.apply(rows, self)
            return everything
        parts = _gather_parts(rows, self)
        if not self.local_loss:
            parts[self.rank] = rows  # keeps this rank's gradient, as OpenCLIP's gather does
        return torch.cat(parts)

    def gather_pairs(
        self, image: torch.Tensor, text: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gather two (b, D) features in one exchange: latency dominates in small batches."""
        if self.world_size == 1:
            return image, text
        both = self.gather(torch.cat([image, text], dim=1))
        return both[:, : image.shape[1]], both[:, image.shape[1] :]

    def rows_of(self, everything: torch.Tensor) -> torch.Tensor:
        """Return the rows that this rank's loss is about: its share with ``local_loss``, or all."""
        if self.world_size == 1 or not self.local_loss:
            return everything
        return everything.chunk(self.world_size)[self.rank]

    def first_row(self, local_count: int) -> int:
        """Return the column of the first row that ``rows_of`` returns."""
        return self.rank * local_count if self.local_loss else 0

    def mean_over_rows(self, values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
        """Return the mean of ``values`` over the rows marked in ``counted``, over all ranks.

        Ranks may have different numbers of such rows. DDP averages the ranks' results, so each
        returns world_size * (own sum) / (count of all ranks), whose average is the joined mean; 0
        when no rank has any.
        """
        total = counted.sum().to(values.dtype)
        if self.world_size > 1 and self.local_loss:
            dist.all_reduce(total)
            total = total / self.world_size
        return (values * counted).sum() / total.clamp(min=1e-12)
