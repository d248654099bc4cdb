"""MiniCLIP's changes to training pictures: a few hundred are learned by heart without them."""

from __future__ import annotations

from collections.abc import Callable

from torchvision import transforms

LARGER = 256 / 224
"""Size, to the input's, that a picture is stretched to before a part is cut out."""


def miniclip_augment(
    image_size: int | tuple[int, int], mean: tuple[float, ...], std: tuple[float, ...]
) -> Callable:
    """An RGB image to a (3, H, W) float32 tensor: most of the picture, perhaps mirrored, a little turned and tinted, perhaps a part erased.

    Args:
        image_size: height and width of the input in pixels.
        mean, std: per channel, of values from 0 to 1.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    return transforms.Compose(
        [
            transforms.Resize((round(height * LARGER), round(width * LARGER))),
            transforms.RandomResizedCrop((height, width), scale=(0.8, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1),
            transforms.RandomRotation(10),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
            transforms.RandomErasing(p=0.1),
        ]
    )
