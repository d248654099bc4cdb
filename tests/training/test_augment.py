"""Random changes around the model's own transform."""

import numpy as np
import pytest
import torch
from PIL import Image

from towers.load import load_encoder
from training.augment import AUGMENT, augmented


@pytest.fixture(scope="module")
def own():
    return load_encoder("hardpairs-test", None, vocabulary=["a"]).transform


def picture(size):
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), np.uint8))


def test_none_is_the_models_own_transform(own):
    image = picture((50, 40))
    assert torch.equal(augmented("none", own)(image), own(image))


@pytest.mark.parametrize("name", AUGMENT)
@pytest.mark.parametrize("size", [(64, 48), (1, 1), (3, 200)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_every_picture_comes_out_in_the_models_shape(own, name, size, mode):
    torch.manual_seed(0)
    transform = augmented(name, own)
    for _ in range(5):
        out = transform(picture(size).convert(mode))
        assert out.shape == (3, 32, 32) and out.dtype == torch.float32 and out.isfinite().all()


@pytest.mark.parametrize("name", ["scanned-document", "retrieval"])
def test_changes_are_drawn_anew_and_follow_the_seed(own, name):
    transform = augmented(name, own)

    def five(seed):
        torch.manual_seed(seed)
        return torch.stack([transform(picture((64, 64))) for _ in range(5)])

    assert torch.equal(five(1), five(1))
    assert len({tensor.sum().item() for tensor in five(1)}) == 5
