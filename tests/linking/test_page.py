"""The page of linked rows."""

from hardpairs.cli.link import main
from tests.linking.stories import flags


def test_the_page_shows_clusters_and_escapes_captions(news):
    folder, _ = news
    assert main(flags(folder, "--im-wt", "1", "--html", f"{folder}/page.html")) == 0
    page = (folder / "page.html").read_text()
    assert (
        page.count('class="cluster"') >= 20
        and "data:image/jpeg" in page
        and "&lt;b&gt;story" in page
        and "<b>story" not in page
    )
    assert "labels not chosen by" in page and "http" not in page.split("</style>")[1]
