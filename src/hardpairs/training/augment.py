"""Pictures changed at random before the model's own transform (``--augment``), which is the same in training, mining and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from PIL import Image, ImageFilter
from torchvision.transforms import RandomResizedCrop, v2

from hardpairs.training.augment_miniclip import miniclip

Transform = Callable[[Image.Image], torch.Tensor]
Parts = tuple[Sequence[Callable], Sequence[Callable]]
"""What is done to the RGB picture before the model's own transform, and to the tensor after it."""


def none() -> Parts:
    """The model's own transform alone, in place of OpenCLIP's random crop."""
    return (), ()


def scanned_document() -> Parts:
    """What scanners and microfilm do to a page; CLIPPINGS' list (arXiv 2304.03464, ``--augmented_crops``) in torchvision."""

    def sometimes(p: float, *steps: Callable) -> Callable:
        return v2.RandomApply(list(steps), p)

    return (
        sometimes(0.7, v2.RandomAffine(2, translate=(0.1, 0.1))),
        sometimes(0.5, v2.ColorJitter(0.4, 0.2, 0.2, 0.2)),
        sometimes(0.5, _grain),
        sometimes(0.3, _blur),
        v2.RandomGrayscale(0.2),
        v2.RandomInvert(0.05),
        v2.RandomPosterize(4, 0.05),
        v2.RandomAdjustSharpness(2, 0.5),
        v2.RandomAutocontrast(0.5),
        v2.RandomEqualize(0.5),
    ), ()


def retrieval() -> Parts:
    """Another photograph of the same thing; the loss comparison's list, without its vertical flips, and drawn anew each time."""
    return (
        v2.RandomRotation(15),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(0.3, 0.3),
        v2.RandomApply([_crop(0.85)], 0.5),
        v2.RandomApply([_blur], 0.3),
    ), ()


def _grain(image: Image.Image) -> Image.Image:
    """Gaussian noise with a variance of 10 to 40, in levels of 0 to 255."""
    pixels = v2.functional.pil_to_tensor(image).float()
    deviation = torch.empty(()).uniform_(10, 40).sqrt()
    return v2.functional.to_pil_image(
        (pixels + deviation * torch.randn_like(pixels)).clamp(0, 255).round().to(torch.uint8)
    )


def _blur(image: Image.Image) -> Image.Image:
    """Gaussian blur of .1 to 2 pixels, of pictures of any size (torchvision's refuses those smaller than its kernel)."""
    return image.filter(ImageFilter.GaussianBlur(torch.empty(()).uniform_(0.1, 2.0).item()))


def _crop(least: float) -> Callable[[Image.Image], Image.Image]:
    """A random part of the picture, of at least this share of its area and about its shape; its size is left as it falls."""

    def crop(image: Image.Image) -> Image.Image:
        ratio = image.width / image.height
        return v2.functional.crop(
            image, *RandomResizedCrop.get_params(image, [least, 1.0], [0.9 * ratio, ratio / 0.9])
        )

    return crop


AUGMENT: dict[str, Callable[[], Parts]] = {
    "none": none,
    "scanned-document": scanned_document,
    "retrieval": retrieval,
    "miniclip": miniclip,
}
"""Name of ``--augment`` -> maker."""


def augmented(name: str, own: Transform) -> Transform:
    """The model's own (validation) transform with random changes around it."""
    before, after = AUGMENT[name]()
    return v2.Compose([v2.RGB(), *before, own, *after])
