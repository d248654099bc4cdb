"""When losses let Triton kernels work on their logits."""

from __future__ import annotations

import os

import torch

from hardpairs.losses.negatives import Negatives, NegativesOnly

KERNELS = "HARDPAIRS_LOSS_KERNELS"
"""Variable that asks for the Triton kernels by the value 1: no GPU has run them yet."""


def use_kernels(image: torch.Tensor, negatives: Negatives) -> bool:
    """Return whether Triton kernels are asked for, and fit."""
    return os.environ.get(KERNELS) == "1" and takes(image, negatives)


def takes(image: torch.Tensor, negatives: Negatives) -> bool:
    """Return whether the kernels know these negatives, and are meant for the features.

    Of float32 features they would multiply without tensor cores.
    """
    return (
        image.is_cuda
        and image.dtype in (torch.bfloat16, torch.float16)
        and type(negatives) in (Negatives, NegativesOnly)
        and negatives.columns.duplicate_features is None
        and not (negatives.weights or negatives.hardness or negatives.guided)
    )
