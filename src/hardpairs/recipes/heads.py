"""Light heads over stored features: one linear layer for each side, and the logit scale."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

LARGEST_SCALE = math.log(100)
"""Bound of the logit scale's logarithm, as in CLIP."""


class Heads(nn.Module):
    """Linear maps of image and text features into one space.

    Where both sides have ``width`` entries, as a CLIP model's embeddings have, the maps start as
    the identity: untrained heads are the start model itself.

    Args:
        image_width: D_image, length of the image features.
        text_width: D_text, length of the text features.
        width: Length of the joint embedding.
        seed: Seed of the start values.
    """

    def __init__(self, image_width: int, text_width: int, width: int, seed: int = 0) -> None:
        super().__init__()
        self.image = nn.Linear(image_width, width, bias=False)
        self.text = nn.Linear(text_width, width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in (self.image, self.text):
                if image_width == text_width == width:
                    layer.weight.copy_(torch.eye(width))
                else:
                    std = layer.in_features**-0.5
                    layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * std)

    def forward(
        self, image: torch.Tensor, text: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return unit embeddings of both sides and the exponentiated logit scale.

        Args:
            image: (b, D_image) features.
            text: (b, D_text) features.

        Returns:
            (b, width), (b, width) and ().
        """
        image = functional.normalize(self.image(image), dim=-1)
        text = functional.normalize(self.text(text), dim=-1)
        return image, text, self.logit_scale.exp()

    @torch.no_grad()
    def clamp_scale(self) -> None:
        """Keep the logit scale within CLIP's bounds, between 1 and 100."""
        self.logit_scale.clamp_(0, LARGEST_SCALE)
