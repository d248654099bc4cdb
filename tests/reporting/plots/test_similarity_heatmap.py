"""The heat map holds the cosines."""

import numpy as np

from hardpairs.data.opening import open_samples
from hardpairs.evaluating.plot_embeddings import read_plot_embeddings
from hardpairs.reporting.plots.similarity_heatmap import similarity_heatmap
from tests.reporting.plots.helpers import texts_of


def test_heat_map_holds_the_cosines(evaluated, photos):
    samples, drawn = open_samples(photos), read_plot_embeddings(evaluated)
    figure = similarity_heatmap(samples, drawn, "lstm")
    axes = max(figure.axes, key=lambda axes: len(axes.texts))
    count = len(axes.get_yticks())
    captions = [label.get_text() for label in axes.get_yticklabels()]
    assert count * count == len(axes.texts) and len(set(captions)) == count
    places = [
        next(
            p
            for p, row in enumerate(drawn["text_rows"])
            if samples.caption(row) == c.replace("\n", " ")
        )
        for c in captions
    ]
    cosines = drawn["text"][places] @ drawn["image"][drawn["text_image"][places]].T
    assert [text.get_text().replace("−", "-") for text in axes.texts] == [
        f"{value:.2f}" for value in cosines.ravel()
    ]
    own = int((cosines.argmax(axis=1) == np.arange(count)).sum())
    assert any(f"{own} of these {count} captions" in text for text in texts_of(figure))
