"""The page in a real Chromium: type, see, click, reject, reload; with captions that attack it, and with nothing else to talk to."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from hardpairs.cli.photos import page_content, parse_args
from hardpairs.data.hard_pairs import table_folder, write_table
from hardpairs.data.open_tables import open_tables
from hardpairs.data.rejects import REASON, read_rejects
from hardpairs.data.samples import open_samples
from hardpairs.photos.page import _shown_pair
from hardpairs.photos.review import Review
from hardpairs.photos.serve import make_app
from tests.browser import CHROMIUM
from tests.helpers import picture, ragged_table
from tests.photos.web import Served, Site, Tab

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
EVIL = "<img src=x onerror=\"window.harmed='caption'\"><script>window.harmed=1</script> ${window.harmed=2} {{value}} @children '\""
HEADING = "(document.querySelector('#answer0 .heading')?.textContent ?? '')"


def site(arguments: list[str]) -> Site:
    """What ``serve`` with these arguments serves, in this process."""
    return Site(make_app(page_content(parse_args(["serve", *arguments]))))


@pytest.fixture
def page(photos, make_index, table, tmp_path):
    """Arguments of ``serve``: an index, and hard pairs of ``table`` whose captions attack the page."""
    (photos / "winter/06.txt").write_text(EVIL)
    (photos / "winter/07.txt").write_text("a quiet evening")
    os.rename(photos / "winter/08.jpg", photos / "winter/<b onmouseover=alert(1)>$& 08.jpg")
    make_index()
    table.write_text(
        table.read_text().replace("picture number 3\n", '"' + EVIL.replace('"', '""') + '"\n')
    )
    samples = open_samples(table)
    indices, scores = ragged_table(40, 6, fullest=True)
    write_table(
        table_folder(tmp_path / "mined", "pairs"),
        indices,
        scores,
        {"dataset_fingerprint": samples.fingerprint},
    )
    return [
        str(tmp_path / "index"),
        "--hard-pairs",
        str(tmp_path / "mined/pairs_hard_pairs"),
        "--data",
        str(table),
    ]


@needs_browser
def test_type_see_click(page, photos, tmp_path):
    with site(page) as served, Tab(tmp_path) as tab:
        url = served.url
        tab.size(1200, 900)
        tab.visit(url)
        tab.wait("document.querySelectorAll('#answer0 .photo-card img').length == 12")
        assert tab.run("document.title") == "Photos" and "12 photos" in tab.run(
            "document.body.innerText"
        )
        tab.wait(
            "[...document.querySelectorAll('#answer0 .photo-card img')].slice(0, 4).every(image => image.complete && image.naturalWidth == 32)"
        )
        assert "a quiet evening" in tab.run(
            "[...document.querySelectorAll('.chip')].map(chip => chip.textContent).join()"
        )

        tab.type("#text input, #text textarea", "picture number 7")
        tab.wait(f"{HEADING} == '“picture number 7”'")
        scores = tab.run(
            "[...document.querySelectorAll('#answer0 .score')].map(score => Number(score.textContent))"
        )
        assert len(scores) == 12 and scores == sorted(scores, reverse=True)
        assert EVIL.split()[0] in tab.run(
            "document.querySelector('#answer0').textContent"
        )  # shown as the text it is
        assert (
            tab.run("window.harmed") is None
            and tab.run("document.querySelectorAll('#answer0 script, #answer0 b').length") == 0
        )

        first = tab.run("document.querySelector('#answer0 .photo-card .name').textContent")
        tab.click("#answer0 .photo-card .frame")
        tab.wait(f"{HEADING}.startsWith('like')")
        names = tab.run(
            "[...document.querySelectorAll('#answer0 .photo-card .name')].map(name => name.textContent)"
        )
        assert len(names) == 11 and first not in names
        tab.click("#answer0 [data-back]")
        tab.wait(f"{HEADING} == '“picture number 7”'")

        tab.type("#minus input, #minus textarea", "number 3")
        tab.wait(f"{HEADING} == '“picture number 7”, without “number 3”'")
        tab.click("#shown label:nth-child(1) input")
        tab.click("#cut input")
        tab.wait("document.querySelectorAll('#answer0 .photo-card').length < 12")
        assert tab.run(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
        tab.size(390, 800)
        assert tab.run(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
        assert tab.strangers(url) == []


@needs_browser
def test_a_picture_that_is_given(page, tmp_path):
    """Through the file chooser, and a file that is none."""
    (tmp_path / "asked.jpg").write_bytes(picture(5))
    (tmp_path / "no.jpg").write_text("<svg onload=alert(1)>")
    bomb = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(bomb, "PNG")
    (tmp_path / "bomb.png").write_bytes(bomb.getvalue())
    with site(page[:1]) as served, Tab(tmp_path) as tab:
        url = served.url
        tab.visit(url)
        tab.wait("document.querySelectorAll('#answer0 .photo-card img').length == 12")

        def choose(name: str) -> None:
            found = tab.call(
                "Runtime.evaluate", expression="document.querySelector('#picture input[type=file]')"
            )
            tab.call(
                "DOM.setFileInputFiles",
                files=[str(tmp_path / name)],
                objectId=found["result"]["objectId"],
            )

        choose("no.jpg")
        tab.wait("document.querySelector('.drop-message').textContent.includes('not an image')")
        choose("bomb.png")
        tab.wait("document.querySelector('.drop-message').textContent.includes('64 megapixels')")
        choose("asked.jpg")
        tab.wait(f"{HEADING} == '' && !!document.querySelector('#answer0 .heading img')")
        assert (
            tab.run("document.querySelector('#answer0 .photo-card .name').textContent") == "05.jpg"
        )
        assert float(
            tab.run("document.querySelector('#answer0 .score').textContent")
        ) == pytest.approx(1, abs=0.01)
        tab.wait("document.querySelector('#picture .drop img')?.naturalWidth == 32")
        tab.type("#text input, #text textarea", "picture")
        tab.wait(f"{HEADING}.startsWith('“picture” and')")
        tab.click(".drop-clear")
        tab.wait(f"{HEADING} == '“picture”'")


@needs_browser
def test_reject_and_reload(page, table, tmp_path):
    """What is clicked is in the file that mining and training read, and is still so after a reload."""
    samples, file = open_samples(table), tmp_path / "mined/rejected.json"
    opened = open_tables([tmp_path / "mined/pairs_hard_pairs"], samples)["pairs"]
    review = Review(opened, samples, tmp_path / "nothing.json")
    review_pairs = [review.pair(suspicion) for suspicion in review.pairs]
    rows = "[...document.querySelectorAll('#pair small')].map(text => Number(text.textContent.split(' ')[1]))"
    with site(page) as served, Tab(tmp_path) as tab:
        url = served.url
        tab.visit(url)

        def open_tab() -> None:
            tab.wait(
                "[...document.querySelectorAll('button[role=tab]')].some(tab => tab.textContent.trim() == 'Hard pairs')"
            )
            tab.run(
                "[...document.querySelectorAll('button[role=tab]')].find(tab => tab.textContent.trim() == 'Hard pairs').click()"
            )
            tab.wait("document.querySelector('#pair img')?.naturalWidth > 0")

        def decide(button: str) -> list[int]:
            shown = tab.run(rows)
            tab.click(f"#{button}")
            tab.wait(f"JSON.stringify({rows}) != '{json.dumps(shown, separators=(',', ':'))}'")
            return shown

        open_tab()
        accepted = decide("accept")
        left, _ = decide("left")
        _, right = decide("right")
        skipped = decide("skip")
        assert read_rejects(file, num_samples=40, fingerprint=samples.fingerprint) == dict.fromkeys(
            sorted((left, right)), REASON
        )
        assert json.loads(file.read_text())["accepted"] == [accepted]
        tab.wait("document.querySelectorAll('#rejected li').length == 2")

        tab.visit(url)
        open_tab()
        assert tab.run(rows) == skipped  # the first that is undecided
        tab.wait("document.querySelectorAll('#rejected li').length == 2")
        decided = {
            frozenset((row, partner))
            for row, partner in review_pairs
            if [row, partner] == accepted or {left, right} & {row, partner}
        }
        progress = f"{len(decided)} of {len(review_pairs)} pairs decided"
        assert (
            len(decided) >= 3
            and tab.run("document.querySelector('.progress').textContent") == progress
        )
        tab.click(f"[data-restore='{left}']")
        tab.wait("document.querySelectorAll('#rejected li').length == 1")
        assert list(read_rejects(file, num_samples=40, fingerprint=None)) == [right]
        assert tab.run("window.harmed") is None and tab.strangers(url) == []


@needs_browser
def test_two_models_side_by_side_and_two_servers_at_once(page, make_index, checkpoint, tmp_path):
    import torch

    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"] = {
        name: value + 0.05 * torch.randn_like(value) if value.is_floating_point() else value
        for name, value in content["state_dict"].items()
    }
    torch.save(content, tmp_path / "other.pt")
    make_index(out=tmp_path / "other", pretrained=str(tmp_path / "other.pt"))
    two = (page[0], "--compare-with", str(tmp_path / "other"))
    with (
        Served(*two, errors=tmp_path / "a") as url,
        Served(page[0], errors=tmp_path / "b") as second,
        Tab(tmp_path) as tab,
    ):
        assert url != second
        tab.visit(f"{url}?q=picture number 7")
        tab.wait(
            f"{HEADING} == '“picture number 7”' && document.querySelectorAll('#answer1 .photo-card').length == 12"
        )
        scores = [
            tab.run(
                f"[...document.querySelectorAll('#answer{i} .score')].map(score => score.textContent)"
            )
            for i in (0, 1)
        ]
        assert scores[0] != scores[1]
        tab.click("#answer1 .photo-card .frame")
        tab.wait(
            f"{HEADING}.startsWith('like') && document.querySelector('#answer1 .heading').textContent.startsWith('like')"
        )
        tab.visit(second)
        tab.wait(
            "document.querySelectorAll('#answer0 .photo-card img').length == 12 && !document.querySelector('#answer1')"
        )


@needs_browser
def test_a_tab_of_batches(page, hard_pairs, table, tmp_path):
    flags = [
        "--train-data",
        str(table),
        "--csv-separator",
        ",",
        "--use-hard",
        "--hard-dict-dir",
        str(hard_pairs),
        "--batch-size",
        "8",
    ]
    with (
        Served(page[0], "--port", "0", "--batches", *flags, errors=tmp_path / "errors") as url,
        Tab(tmp_path) as tab,
    ):
        tab.visit(url)
        tab.wait(
            "[...document.querySelectorAll('button[role=tab]')].some(tab => tab.textContent.trim() == 'Batches')"
        )
        tab.run(
            "[...document.querySelectorAll('button[role=tab]')].find(tab => tab.textContent.trim() == 'Batches').click()"
        )
        tab.wait(
            "document.querySelector('iframe.batches')?.contentDocument?.querySelectorAll('.batch img').length > 8"
        )
        assert tab.strangers(url) == []


def test_a_table_without_pairs_is_not_one_that_is_done(table, tmp_path):
    samples = open_samples(table)
    nothing = np.full((40, 6), -1, np.int32), np.zeros((40, 6), np.float32)
    opened = write_table(
        table_folder(tmp_path, "pairs"), *nothing, {"dataset_fingerprint": samples.fingerprint}
    )
    assert (
        "holds no hard pair"
        in _shown_pair(Review(opened, samples, tmp_path / "rejected.json"), [])[0]
    )


def test_what_is_said_when_all_is_decided(table, tmp_path):
    samples = open_samples(table)
    indices, scores = ragged_table(40, 6, fullest=True)
    opened = write_table(
        table_folder(tmp_path, "pairs"),
        indices,
        scores,
        {"dataset_fingerprint": samples.fingerprint},
    )
    review = Review(opened, samples, tmp_path / "rejected.json")
    for _ in range(len(review.pairs)):
        suspicion = review.next(set())
        review.accept(review.pair(suspicion))
    said = f"Nothing is left to decide of the {len(review.pairs)} most suspicious pairs, at most one for each row, of 240 in the table."
    assert len(review.pairs) <= 40 and said in _shown_pair(review, [])[0]
