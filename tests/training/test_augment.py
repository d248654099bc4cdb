"""Random changes around the model's own transform."""

import numpy as np
import pytest
import torch
from PIL import Image

from hardpairs.models.load import load_encoder
from hardpairs.training.augment import AUGMENT, augmented


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


def drawn(name, image, count):
    """``count`` pictures after the steps of a list, as (H, W, 3) float arrays of the same size."""
    torch.manual_seed(0)
    results = []
    for _ in range(count):
        changed = image
        for step in AUGMENT[name]()[0]:
            changed = step(changed)
        results.append(np.asarray(changed.resize(image.size), np.float32))
    return np.stack(results)


def test_what_scans_do():
    """A flat color: a fifth goes grey, one in twenty inverted, half of them grainy, two thirds shifted with black beside."""
    pictures = drawn("scanned-document", Image.new("RGB", (32, 32), (230, 180, 120)), 400)
    middle = pictures[:, 12:20, 12:20]
    grey = np.mean([np.ptp(picture.mean((0, 1))) < 2 for picture in middle])
    inverted = np.mean([picture[..., 0].mean() < picture[..., 2].mean() - 20 for picture in middle])
    shifted = np.mean(
        [
            np.abs(picture[[0, -1]] - picture[16]).mean()
            + np.abs(picture[:, [0, -1]] - picture[:, [16]]).mean()
            > 40
            for picture in pictures
        ]
    )
    assert 0.12 < grey < 0.3 and 0.01 < inverted < 0.1 and 0.45 < shifted < 0.9
    grain = np.mean([picture.std((0, 1)).max() > 1.5 for picture in middle])
    assert (
        0.3 < grain < 0.9
    )  # equalise, which stretches a flat picture's levels, hides or adds some


def test_what_another_photograph_does():
    """Black above white with a red stripe at the left: it may change sides, never stand on its head."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[32:] = 255
    pixels[:, :12] = (255, 0, 0)
    pictures = drawn("retrieval", Image.fromarray(pixels), 200)
    assert (
        pictures[:, 44:54, 24:40].mean((1, 2, 3)) > pictures[:, 10:20, 24:40].mean((1, 2, 3)) + 60
    ).all()
    redness = pictures[..., 0] - pictures[..., 2]
    left, right = redness[:, 20:44, 4:10].mean((1, 2)), redness[:, 20:44, -10:-4].mean((1, 2))
    assert 0.3 < np.mean(left > right) < 0.7
    assert len(np.unique(np.round(pictures.mean((1, 2, 3)), 1))) > 50


def test_what_is_erased_of_a_small_collection():
    """At most a tenth of an image, and of one image in ten."""
    (erase,) = AUGMENT["miniclip"]()[1]
    torch.manual_seed(0)
    shares = [(erase(torch.ones(3, 224, 224)) == 0).double().mean().item() for _ in range(2000)]
    erased = [share for share in shares if share]
    assert 0.07 < len(erased) / 2000 < 0.13
    assert min(erased) > 0.019 and 0.08 < max(erased) < 0.101
