"""The page's own HTML: what of files, captions and visitors is escaped."""

from __future__ import annotations

import numpy as np
import pytest

from hardpairs.photos.cards import (
    card,
    escaped,
    like_heading,
    pair_html,
    query_heading,
    rejected_html,
    results_html,
    welcome,
)
from hardpairs.photos.index import Index, write_index
from hardpairs.photos.scan import scan
from hardpairs.photos.search import SearchResult
from hardpairs.photos.table import NO_DIGEST, Row, Table

EVIL = '<b onclick="x">${a} {{b}} @children \'\u202e'


@pytest.fixture
def index(photos, tmp_path):
    """Twelve photos, one of which has a caption that attacks the page."""
    rows = [
        Row(file, bytes([i]) + NO_DIGEST[1:], EVIL if i == 3 else "")
        for i, file in enumerate(scan([str(photos)]).files)
    ]
    (tmp_path / "index").mkdir()
    model = {"model": "m", "weights": "w", "preprocess": {}}
    vectors = np.zeros((12, 1), np.float32)
    write_index(tmp_path / "index", [vectors], (12, 1), Table.of(rows), Table.of([]), model)
    return Index.open(tmp_path / "index")


def harmless(html: str) -> bool:
    return not any(part in html for part in ("<b ", "${", "{{", "@children", "\u202e"))


def test_a_text_is_only_a_text():
    assert escaped("a<b>&\"'$x{y}@z\n") == "a&lt;b&gt;&amp;&quot;&#x27;&#36;x&#123;y&#125;&#64;z"


def test_a_card_asks_for_neighbors_and_one_that_is_gone_does_not(index, photos):
    html = card(index, 3, 0.256)
    assert harmless(html) and 'data-like="0300000000000000"' in html and ">0.26<" in html
    assert 'src="/photo/0300000000000000"' in html and "open 03.jpg large" in html
    assert '<span class="score"' not in card(index, 2)
    (photos / "summer/03.jpg").unlink()
    html = card(index, 3)
    assert 'class="photo-card gone"' in html and "data-like" not in html and harmless(html)


def test_results_say_what_is_missing(index, photos):
    (photos / "summer/00.jpg").unlink()
    results = [SearchResult(row, 0.5) for row in (0, 3, 5)]
    html = results_html(index, results, heading="H", cut=True, warning=EVIL)
    assert harmless(html) and html.count("<figure") == 3 and '<p class="heading">H</p>' in html
    assert "1 photo is no longer there" in html
    assert "No photo stands out" in results_html(index, [], heading="H", cut=True)


def test_headings_say_what_was_asked_for(index):
    assert query_heading("a dog", "snow", "") == "“a dog”, without “snow”"
    assert query_heading("", "snow", "") == "everything, without “snow”"
    assert query_heading("a dog", "", "7f").endswith(
        '<img class="small" src="/asked/7f" alt="your image">'
    )
    assert harmless(query_heading(EVIL, EVIL, "")) and "03.jpg" in like_heading(index, index.ids[3])


def test_the_first_page_has_examples_and_photos_of_its_seed(index):
    html = welcome(index, ["a dog", EVIL], seed=0)
    assert harmless(html) and html.count('class="chip"') == 2 and html.count("<figure") == 12
    assert "Some of 12 photos" in html and html != welcome(index, ["a dog", EVIL], seed=1)


def test_pairs_and_rejected_rows():
    html = pair_html((3, 8), (EVIL, "b"), score="", reason="same words", decided=1, total=1000)
    assert harmless(html) and 'src="/pair/3"' in html and "<b>1</b> of 1,000 pairs" in html
    assert '<p class="facts">same words</p>' in html
    html = rejected_html([(8, EVIL)], "a/b.json")
    assert harmless(html) and 'data-restore="8"' in html and "1 row rejected" in html
    assert "Nothing is rejected yet" in rejected_html([], "a/b.json")
