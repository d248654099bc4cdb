"""Scenes: captions are true, and tell all scenes apart."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from hardpairs.demo import scenes


def test_scenes_are_distinct_and_captions_say_what_is_shown() -> None:
    made = scenes.scenes(400, np.random.default_rng(0))
    assert len({scene.caption for scene in made}) == len(made) == 400
    for scene in made:
        assert scene.first != scene.second
        where = Image.open(io.BytesIO(scenes.draw(scene, np.random.default_rng(1)))).convert("RGB")
        centres = [
            color_center(where, scenes.COLORS[thing.color]) for thing in (scene.first, scene.second)
        ]
        if scene.first.color != scene.second.color:
            axis = 0 if scene.sideways else 1
            assert centres[0][axis] + 10 < centres[1][axis], scene.caption


def color_center(picture: Image.Image, color: tuple[int, int, int]) -> tuple[float, float]:
    near = np.abs(np.asarray(picture, np.float32) - color).sum(-1) < 60
    rows, columns = np.nonzero(near)
    return float(columns.mean()), float(rows.mean())


def test_captions_name_the_relation_from_either_side() -> None:
    circle, square = scenes.Thing("", "red", "circle"), scenes.Thing("", "orange", "square")
    assert (
        scenes.Scene(circle, square, sideways=True, mirrored=False).caption
        == "a red circle left of an orange square"
    )
    assert (
        scenes.Scene(circle, square, sideways=True, mirrored=True).caption
        == "an orange square right of a red circle"
    )
    assert (
        scenes.Scene(circle, square, sideways=False, mirrored=True).caption
        == "an orange square below a red circle"
    )


def test_many_scenes_use_size_words() -> None:
    most = scenes.most_scenes()
    made = scenes.scenes(most, np.random.default_rng(0))
    assert len({scene.caption for scene in made}) == most > 40_000
    assert all(scene.first.size and scene.second.size for scene in made)
    with pytest.raises(ValueError):
        scenes.scenes(most + 1, np.random.default_rng(0))
