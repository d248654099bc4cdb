"""A survey as text and page."""

from hardpairs.checking.report import check_page, check_text
from hardpairs.checking.survey import Finding, read_data, survey
from hardpairs.pages.template import render_template
from tests.checking.data import open_table

SHARED = [Finding("the same image", 2, ["row 0: <b>.jpg"])]


def test_text(tmp_path):
    found = survey(read_data(open_table(tmp_path)))
    text = check_text(found, None, [])
    assert "4 of 10 rows will be left out." in text and "Leakage" not in text
    assert "JPEG RGB 3, PNG RGB 1" in text and "1 to 3, median 2" in text
    assert "2 rows show an image of test.csv." in check_text(found, "test.csv", SHARED)
    assert "No row shows an image of test.csv." in check_text(found, "test.csv", [])


def test_the_page_escapes_and_fetches_nothing(tmp_path):
    found = survey(read_data(open_table(tmp_path)))
    page = render_template("check.html.j2", page=check_page(found, "test.csv", SHARED))
    assert "row 0: &lt;b&gt;.jpg" in page and "not_an_image" in page
    assert "http" not in page.split("</style>")[1] and "src=" not in page
