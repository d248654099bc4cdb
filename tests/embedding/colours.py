"""Encoders that one can check by eye."""

from __future__ import annotations

import numpy as np
import torch

from hardpairs.models.encoders import Encoders, ImageEncoder, TextEncoder

RANDOM = ("--model", "hardpairs-test", "--pretrained", "none")


def colours(scale: float = 1.0) -> Encoders:
    """Encoders one can check by eye: a picture's mean colour, a caption's letters."""

    def pixels(image):
        return (
            torch.from_numpy(np.asarray(image, np.float32))
            .permute(2, 0, 1)[:, ::4, ::4]
            .contiguous()
        )

    def letters(captions):
        return torch.tensor(
            [[1.0 + caption.count(str(digit)) for digit in range(10)] for caption in captions]
        )

    return Encoders(
        ImageEncoder(
            pixels,
            lambda x: scale * (1 + x.mean(dim=(2, 3))),
            {"model": "colours", "weights": str(scale), "preprocess": {}},
        ),
        TextEncoder(
            letters, lambda x: x, {"model": "letters", "weights": "none", "preprocess": {}}
        ),
        one_space=False,
    )
