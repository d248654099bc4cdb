"""MiniCLIP's changes to training pictures: a few hundred are learned by heart without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torchvision.transforms import v2

STRETCHED, CUT = 256, 224
"""Sides in pixels before and after the crop. Images are made small first: steps cost by pixels."""


def miniclip() -> tuple[Sequence[Callable], Sequence[Callable]]:
    """What is done to the RGB picture before the model's own transform, and to the tensor after it.

    Most of the picture, perhaps mirrored, a little tinted and turned; perhaps a part of it erased.
    """
    return (
        v2.Resize((STRETCHED, STRETCHED)),
        v2.RandomResizedCrop(CUT, scale=(0.8, 1.0)),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(0.2, 0.2, 0.2, 0.1),
        v2.RandomRotation(10),
    ), (v2.RandomErasing(0.1),)
