"""The page of a comparison: what is chosen and what is an oracle, on a telephone, too."""

import numpy as np
import pytest
from PIL import Image

from hardpairs.comparing.page import Answer, LossesPage, _table_row
from hardpairs.comparing.table import COLUMNS, Training, rows_of, verdict
from hardpairs.pages.album import ShownImage, thumbnail
from hardpairs.pages.charts import line_chart
from hardpairs.pages.template import render_template
from tests.axe import SCRIPT, axe_faults
from tests.browser import CHROMIUM
from tests.comparing.made import results_of
from tests.photos.web import Tab


@pytest.fixture
def rows():
    """By the queries a is best, by validation data b."""
    measured = {"start": [results_of([0, 0])], "a": [results_of([1, 1])], "b": [results_of([1, 0])]}
    return rows_of(measured, {"a": Training(0.1, (1,), 0.5), "b": Training(0.1, (1,), 0.6)})


def test_the_choice_and_the_oracle(rows):
    assert [_table_row(row, rows).mark for row in rows] == [
        "an oracle: the best of the queries",
        "the choice of the validation data",
        "",
    ]
    assert verdict(rows, "mAP") == (
        "The choice is b, the best by mAP on the validation data (60.0 %): mAP 50.0 on the queries. "
        "The best there is a (100.0): an oracle, which nobody knows without the queries' answers."
    )
    assert verdict(rows[1:], "mAP").endswith("mAP 50.0 on the queries. It is also the best there.")
    assert _table_row(rows[1], rows[1:]).mark == "the choice of the validation data"


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_in_a_browser(rows, tmp_path, width):
    uri, *size = thumbnail(Image.effect_noise((90, 90), 60).convert("RGB"))
    image = ShownImage(0, uri, *size, "a picture of class number 0")
    losses = ("contrastive_squared", "supcon", "start")
    answers = [Answer(loss, [(image, bool(i % 2)) for i in range(5)], "50") for loss in losses]
    page = LossesPage(
        title="Losses compared",
        sentences=[verdict(rows, "mAP")],
        columns=COLUMNS,
        rows=[_table_row(row, rows) for row in rows],
        charts=[line_chart("mAP", [(0, "a", np.arange(3.0), np.arange(3.0))], note="one seed")],
        queries=[(image, answers)] * 2,
        command="hardpairs compare",
    )
    (tmp_path / "page.html").write_text(render_template("losses.html.j2", page=page))
    with Tab(tmp_path) as tab:
        tab.size(width, 800)
        tab.open(tmp_path / "page.html")
        assert tab.run(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
        assert SCRIPT is None or axe_faults(tab) == []
