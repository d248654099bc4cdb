"""Every offline page against WCAG 2.2 AA, on a screen and on a telephone, in Chromium."""

import base64
import os
from pathlib import Path

import pytest

from hardpairs.cli import check_data, inspect_batches, inspect_pairs, link
from tests.axe import SCRIPT, axe_faults
from tests.browser import CHROMIUM
from tests.linking.stories import flags, write_news
from tests.photos.web import Tab
from tests.reporting.runs import make_report, write_data, write_four

SCREENSHOTS = os.environ.get("SCREENSHOTS")
"""A folder for pictures of the pages, to look at."""
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The five pages of small data."""
    folder = tmp_path_factory.mktemp("pages")
    data = write_data(folder)
    runs = write_four(data)
    make_report(runs)
    pairs = [folder / "pairs_hard_pairs", "--data", data, "--html", folder / "pairs.html"]
    assert inspect_pairs.main([*map(str, pairs)]) == 0
    columns = ["--train-data", data, "--csv-separator", ",", "--batching", "random"]
    batches = [*columns, "--batch-size", "8", "--out", folder / "batches.html"]
    assert inspect_batches.main([*map(str, batches)]) == 0
    check = [data, "--against", data, "--html", folder / "check.html"]
    assert check_data.main([*map(str, check)]) == 0
    (folder / "news").mkdir()
    news, _ = write_news(folder / "news")
    assert link.main(flags(news, "--im-wt", "1", "--html", str(folder / "links.html"))) == 0
    return folder


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with Tab(tmp_path_factory.mktemp("downloads")) as tab:
        yield tab


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
@pytest.mark.parametrize("name", ["report", "pairs", "batches", "links", "check"])
def test_a_page(pages, tab, name, width, dark):
    tab.size(width, 900, dark=dark)
    tab.open(pages / f"{name}.html")
    tab.run("document.querySelectorAll('details').forEach(part => part.open = true)")
    if SCREENSHOTS:
        picture = tab.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        Path(SCREENSHOTS, f"{name}-{width}.png").write_bytes(base64.b64decode(picture))
    assert tab.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert SCRIPT is None or axe_faults(tab) == []
