"""The geometry loss: similarities between images should equal those between their texts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.checkpoint import checkpoint

from hardpairs.batches.info import BatchInfo
from hardpairs.losses.base import Loss
from hardpairs.losses.block_sums import blocks_of
from hardpairs.losses.gather import World
from hardpairs.losses.ring import ring_sum


class GeometryLoss(Loss):
    r"""Mean over all (i, j) of the global batch of :math:`(x_i \cdot x_j - y_i \cdot y_j)^2`.

    Source: CLIPSE's ``geometry_align``, which has weight 0.1 there.

    Args:
        world: How ranks are joined.
        block_rows: Rows held at once; the backward pass computes them again. ``None``: all.
    """

    part = "geometry_loss"

    def __init__(self, *, world: World | None = None, block_rows: int | None = None) -> None:
        super().__init__()
        self.world, self.block_rows = world or World(), block_rows

    def forward(
        self,
        image_features: torch.Tensor,
        text_features: torch.Tensor,
        logit_scale: torch.Tensor | None = None,
        logit_bias: torch.Tensor | None = None,
        *,
        info: BatchInfo | None = None,
    ) -> torch.Tensor:
        """Return the loss of this rank.

        Args:
            image_features: (b, D), unit length.
            text_features: (b, D), unit length.
            logit_scale: Not used.
            logit_bias: Not used.
            info: Not used.
        """
        world, pairs = self.world, [image_features, text_features]
        if world.ring:
            count = len(image_features)
            total = ring_sum(lambda _, *sides: self._sum(*sides), pairs, pairs, world)
            return total / (count * count * world.world_size)
        everything = world.gather_pairs(*pairs)
        rows: Sequence[torch.Tensor] = pairs if world.local_loss else everything
        return self._sum(rows, everything) / (len(rows[0]) * len(everything[0]))

    def _sum(self, rows: Sequence[torch.Tensor], columns: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the sum over images and texts of some rows with those of some columns."""
        image, text = rows
        blocks = blocks_of(len(image), self.block_rows)
        total = torch.zeros((), device=image.device)
        for block in blocks:
            arguments = (image[block], text[block], *columns)
            total = total + (
                _squares(*arguments)
                if len(blocks) == 1
                else checkpoint(_squares, *arguments, use_reentrant=False)
            )
        return total


def _squares(
    image: torch.Tensor, text: torch.Tensor, all_image: torch.Tensor, all_text: torch.Tensor
) -> torch.Tensor:
    difference = image @ all_image.T - text @ all_text.T
    return difference.to(torch.promote_types(difference.dtype, torch.float32)).square().sum()
