"""The figure of several methods is the table."""

import numpy as np
import pytest

from hardpairs.evaluating.runs import read_methods
from hardpairs.evaluating.spread import shared_record, spread
from hardpairs.reporting.plots.metrics_comparison import SHOWN, metrics_comparison
from hardpairs.reporting.spread_table import spread_text
from tests.photos.runs import write_run


@pytest.fixture
def runs(photos):
    """Three seeds of one method, one run of another."""
    seeds = [write_run(photos, f"lstm-{seed}", "lstm", seed=seed, noise=1.5) for seed in range(3)]
    return [*seeds, write_run(photos, "transformer", "transformer", noise=4.0)]


def test_figure_is_the_table(runs):
    methods = read_methods(runs)
    figure = metrics_comparison(methods)
    assert [axes.get_title() for axes in figure.axes] == ["text → image", "image → text"]
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    expected = [
        100 * spread(method)[f"text_to_image_{name}"].mean for name in SHOWN for method in methods
    ]
    assert widths == pytest.approx(expected)
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert spread_text(spread(methods[0])["text_to_image_R@1"], "share") in shown
    ceiling = 100 * shared_record(methods, "ceiling")["text_to_image_R@1"]
    lines = [
        segment[0][0]
        for collection in figure.axes[0].collections
        for segment in collection.get_segments()
    ]
    assert np.isclose(lines, ceiling).any() and np.isclose(lines, 100 * (10 / 6 + 2 / 3) / 12).any()
