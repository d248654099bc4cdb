"""The map joins captions with their images, and keeps neighbors."""

import numpy as np
import pytest

from hardpairs.data.opening import open_samples
from hardpairs.evaluating.plot_embeddings import read_plot_embeddings
from hardpairs.reporting.plots.embedding_space import embedding_space, projected


def test_map_joins_captions_with_their_images(evaluated, photos):
    samples, drawn = open_samples(photos), read_plot_embeddings(evaluated)
    axes = embedding_space(samples, drawn, "lstm").axes[0]
    captions, images = (points.get_offsets() for points in axes.collections)
    assert len(images) == 6 and len(captions) == 12 == len(axes.lines)
    for line, caption, owner in zip(axes.lines, captions, drawn["text_image"], strict=True):
        assert line.get_xydata() == pytest.approx(np.stack([caption, images[owner]]))
    points = np.concatenate([drawn["image"], drawn["text"]])
    assert (
        np.array_equal(projected(points), projected(points))
        and np.isfinite(projected(points)).all()
    )


def test_neighbors_stay_neighbors_on_the_map():
    rng = np.random.default_rng(0)
    bunches = np.repeat(rng.normal(size=(4, 16)), 10, axis=0)
    places = projected(bunches + 0.01 * rng.normal(size=bunches.shape))
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(40)
    assert (distance.argmin(axis=1) // 10 == np.arange(40) // 10).all()
