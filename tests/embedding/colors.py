"""Models that one can follow by eye: images are their mean color, captions the color they name."""

from __future__ import annotations

import numpy as np
import torch

from hardpairs.models.encoders.base import Encoders, ImageEncoder, TextEncoder

RANDOM = ("--model", "hardpairs-test", "--pretrained", "none")
COLORS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}


class Counted:
    """The encoders, and what they were asked."""

    def __init__(self) -> None:
        self.images = 0
        self.texts: list[str] = []
        description = {"model": "colors", "weights": "none", "preprocess": {}}
        self.encoders = Encoders(
            ImageEncoder(self.transform, self.encode_image, description),
            TextEncoder(list, self.encode_text, description),
            one_space=True,
        )

    def transform(self, image) -> torch.Tensor:
        return torch.from_numpy(np.asarray(image, np.float32)).permute(2, 0, 1)

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        self.images += len(pixels)
        return pixels.mean(dim=(2, 3))

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        self.texts += texts
        named = [[sum(c in text for c in (color,)) for color in COLORS] for text in texts]
        return torch.tensor(named, dtype=torch.float32) + 0.1


def simple_encoders(scale: float = 1.0) -> Encoders:
    """Return encoders: a picture's colors, a caption's digits."""

    def pixels(image):
        return (
            torch.from_numpy(np.asarray(image, np.float32))
            .permute(2, 0, 1)[:, ::4, ::4]
            .contiguous()
        )

    def digits(captions):
        return torch.tensor(
            [[1.0 + caption.count(str(digit)) for digit in range(10)] for caption in captions]
        )

    return Encoders(
        ImageEncoder(
            pixels,
            lambda x: scale * (1 + x.mean(dim=(2, 3))),
            {"model": "pixels", "weights": str(scale), "preprocess": {}},
        ),
        TextEncoder(digits, lambda x: x, {"model": "digits", "weights": "none", "preprocess": {}}),
        one_space=False,
    )
