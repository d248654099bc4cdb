"""Photographs of stickers."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from hardpairs.demo import emoji, photograph


def test_photographs_differ_and_are_small_jpegs() -> None:
    drawing = next(drawing for drawing in emoji.openmoji_drawings() if drawing.caption == "banana")
    sticker = photograph.cut_out(emoji.rasterize(drawing.path))
    shots = [photograph.photograph(sticker, np.random.default_rng(seed)) for seed in range(6)]
    assert len(set(shots)) == 6
    assert all(Image.open(io.BytesIO(shot)).size == (64, 64) and len(shot) < 6000 for shot in shots)
    assert photograph.photograph(sticker, np.random.default_rng(3)) == shots[3]
