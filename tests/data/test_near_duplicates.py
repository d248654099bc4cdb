"""Near duplicates: against loops over all pairs, and on pictures saved again."""

import io

import numpy as np
from PIL import Image

from hardpairs.data import near_duplicates
from hardpairs.data.images import decode
from hardpairs.data.near_duplicates import SAME_LOOK, joined, same_direction, same_look, thumbnail
from tests.helpers import picture


def scene(seed, size=160):
    """A picture with structure: smooth random colors."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)


def saved(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return decode(buffer.getvalue())


def test_copies_look_the_same_and_other_pictures_do_not():
    pictures = []
    for seed in range(6):
        one = scene(seed)
        pictures += [one, saved(one, 40), one.resize((100, 120)), one.crop((1, 1, 159, 159))]
    pairs = same_look(np.stack([thumbnail(picture) for picture in pictures]))
    groups = joined(len(pictures), pairs)
    assert groups.tolist() == np.repeat(np.arange(6), 4).tolist()


def test_pictures_of_one_shape_in_other_colours_differ():
    pictures = [decode(picture(seed)) for seed in range(30)]
    assert not len(same_look(np.stack([thumbnail(one) for one in pictures])))


def test_against_all_pairs_in_loops(monkeypatch):
    monkeypatch.setattr(near_duplicates, "BLOCK", 7)
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, 255, (6, 768))
    thumbnails = (
        centres[rng.integers(0, 6, 25)] + rng.normal(0, SAME_LOOK / 1.4, (25, 768))
    ).astype(np.float32)
    expected = [
        (i, j)
        for i in range(25)
        for j in range(i + 1, 25)
        if np.sqrt(((thumbnails[i].astype(float) - thumbnails[j]) ** 2).mean()) <= SAME_LOOK
    ]
    assert [tuple(pair) for pair in same_look(thumbnails)] == expected and 0 < len(expected) < 300
    vectors = thumbnails / np.linalg.norm(thumbnails, axis=1, keepdims=True)
    expected = [
        (i, j) for i in range(25) for j in range(i + 1, 25) if vectors[i] @ vectors[j] > 0.99
    ]
    assert [tuple(pair) for pair in same_direction(vectors, 0.99)] == expected and expected


def test_chains_are_joined():
    assert joined(6, np.array([[0, 3], [3, 5], [1, 2]])).tolist() == [0, 1, 1, 0, 2, 0]
    assert joined(3, np.empty((0, 2), np.int64)).tolist() == [0, 1, 2]
