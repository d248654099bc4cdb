"""Random changes of training images, around the model's own transform."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from torchvision.transforms import RandomResizedCrop, v2

Transform = Callable[[Image.Image], torch.Tensor]
Steps = Sequence[Callable[..., Any]]
Parts = tuple[Steps, Steps]
"""Steps on the RGB image before the model's own transform, and on the tensor after it."""


def none() -> Parts:
    """Change nothing: the model's own transform, in place of OpenCLIP's random crop."""
    return (), ()


def scanned_document() -> Parts:
    """Change a page as scanners and microfilm do (the list of arXiv 2304.03464)."""

    def sometimes(p: float, *steps: Callable[..., Any]) -> v2.Transform:
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
    """Make another photograph of the same thing."""
    return (
        v2.RandomRotation(15),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(0.3, 0.3),
        v2.RandomApply([_crop(0.85)], 0.5),
        v2.RandomApply([_blur], 0.3),
    ), ()


def small_collection() -> Parts:
    """Keep a model from learning a few hundred images by heart.

    Most of the image, perhaps mirrored, a little tinted and turned; perhaps a tenth of it erased.
    Images are made small first, because the cost of the other steps grows with the pixels.
    """
    return (
        v2.Resize((256, 256)),
        v2.RandomResizedCrop(224, scale=(0.8, 1.0)),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(0.2, 0.2, 0.2, 0.1),
        v2.RandomRotation(10),
    ), (v2.RandomErasing(0.1, scale=(0.02, 0.1)),)


def _grain(image: Image.Image) -> Image.Image:
    """Add Gaussian noise with a variance of 10 to 40, in levels of 0 to 255."""
    pixels = v2.functional.pil_to_tensor(image).float()
    deviation = torch.empty(()).uniform_(10, 40).sqrt()
    noisy = (pixels + deviation * torch.randn_like(pixels)).clamp(0, 255).round()
    grainy: Image.Image = v2.functional.to_pil_image(noisy.to(torch.uint8))
    return grainy


def _blur(image: Image.Image) -> Image.Image:
    """Blur by 0.1 to 2 pixels; torchvision refuses images smaller than its kernel."""
    radius = torch.empty(()).uniform_(0.1, 2.0).item()
    blurred: Image.Image = image.filter(ImageFilter.GaussianBlur(radius))
    return blurred


def _crop(least: float) -> Callable[[Image.Image], Image.Image]:
    """Return a random crop of at least this share of the area, of about the same shape."""

    def crop(image: Image.Image) -> Image.Image:
        ratio = image.width / image.height
        ratios = [0.9 * ratio, ratio / 0.9]
        box = RandomResizedCrop.get_params(image, [least, 1.0], ratios)
        cropped: Image.Image = v2.functional.crop(image, *box)
        return cropped

    return crop


AUGMENT: dict[str, Callable[[], Parts]] = {
    "none": none,
    "scanned-document": scanned_document,
    "retrieval": retrieval,
    "miniclip": small_collection,
}
"""The random changes by name."""


def augmented(name: str, own: Transform) -> Transform:
    """Return the model's own (validation) transform with random changes around it."""
    before, after = AUGMENT[name]()
    transform: Transform = v2.Compose([v2.RGB(), *before, own, *after])
    return transform


@contextlib.contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Make the random numbers of a block follow from whole numbers alone.

    What OpenCLIP's transforms and ours draw then depends on the row and the step, and not on the
    process or worker that loads it. Afterwards all generators are as they were.

    Args:
        *numbers: At least 0.
    """
    first, second = np.random.SeedSequence(numbers).generate_state(2, np.uint64)
    python, numpy, pytorch = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(int(first))
    np.random.seed(int(first) % 2**32)
    torch.default_generator.manual_seed(int(second >> np.uint64(1)))
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(pytorch)
