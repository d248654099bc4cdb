"""Retrieved images are marked as they are."""

import numpy as np
import pytest

from hardpairs.data.opening import open_samples
from hardpairs.evaluating.runs import read_run
from hardpairs.pages.charts import RIGHT, WRONG
from hardpairs.reporting.plots.retrieval_results import retrieval_results
from tests.reporting.plots.helpers import texts_of


def test_retrieved_images_are_marked_as_they_are(evaluated, photos):
    samples, queries = open_samples(photos), read_run(evaluated).queries
    figure = retrieval_results(samples, queries, "lstm")
    lines = np.array(figure.axes).reshape(5, 6)
    rights = 0
    for words, *cells in lines:
        caption, rank = (text.get_text() for text in words.texts)
        query = next(
            i
            for i, row in enumerate(queries["text_rows"])
            if samples.caption(row) == caption.replace("\n", " ")
            and str(queries["text_to_image_ranks"][i]) == rank.split()[-1]
        )
        for axes, row in zip(cells, queries["text_to_image_top"][query], strict=False):
            others = {
                samples.group(i)
                for i in range(12)
                if samples.caption(i) == samples.caption(queries["text_rows"][query])
            }
            right = samples.group(row) in others
            verdict, rights = axes.get_title(), rights + right
            assert verdict.startswith("✓ right" if right else "✗ ")
            assert axes.spines["left"].get_edgecolor()[:3] == pytest.approx(
                tuple(int((RIGHT if right else WRONG)[i : i + 2], 16) / 255 for i in (1, 3, 5))
            )
    assert rights and any("not\nreadable" in text for text in texts_of(figure))
