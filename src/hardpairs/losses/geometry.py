"""CLIPSE's geometry term: images should lie to each other as their texts do."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from hardpairs.losses.gather import World
from hardpairs.losses.strip import blocks_of


class GeometryLoss(nn.Module):
    r"""Mean over all (i, j) of the global batch of :math:`(x_i \cdot x_j - y_i \cdot y_j)^2` (CLIPSE's ``geometry_align``, weight 0.1 there).

    Args:
        world: how ranks are joined.
        block_rows: rows held at once; the backward computes them again. ``None``: all.
    """

    def __init__(self, *, world: World | None = None, block_rows: int | None = None) -> None:
        super().__init__()
        self.world, self.block_rows = world or World(), block_rows

    def forward(self, image_features: torch.Tensor, text_features: torch.Tensor) -> torch.Tensor:
        """The term of this rank: (b, D), (b, D) -> ()."""
        world = self.world
        all_image, all_text = world.gather_pairs(image_features, text_features)
        image, text = (image_features, text_features) if world.local_loss else (all_image, all_text)
        blocks, total = blocks_of(len(image), self.block_rows), 0.0
        for block in blocks:
            arguments = (image[block], text[block], all_image, all_text)
            total = total + (
                _squares(*arguments)
                if len(blocks) == 1
                else checkpoint(_squares, *arguments, use_reentrant=False)
            )
        return total / (len(image) * len(all_image))


def _squares(image, text, all_image, all_text) -> torch.Tensor:
    difference = image @ all_image.T - text @ all_text.T
    return difference.to(torch.promote_types(difference.dtype, torch.float32)).square().sum()
