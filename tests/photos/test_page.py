"""The page in a real Chromium: type, see, click, reject, reload; with captions that attack it, and with nothing else to talk to."""

from __future__ import annotations

import io
import json
import os
import signal
import threading

import pytest
from PIL import Image

from hardpairs.cli.photos import page_content, parse_args
from hardpairs.core.errors import UserError
from hardpairs.data.hard_pairs import table_folder, write_table
from hardpairs.data.open_tables import open_tables
from hardpairs.data.opening import open_samples
from hardpairs.data.rejects import REASON, read_rejects
from hardpairs.photos import page as page_module
from hardpairs.photos.review import Review
from hardpairs.photos.serve import make_app
from tests.axe import SCRIPT, axe_faults, needs_axe
from tests.browser import CHROMIUM, SECONDS
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
    (photos / "winter/07.txt").write_text("picture number 9")
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
        assert (
            tab.run("[...document.querySelectorAll('.chip')].map(chip => chip.textContent).join()")
            == "picture number 9"
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
            tab.open_part("Hard pairs")
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
        tab.wait("document.querySelectorAll('#rejected [data-restore]').length == 2")

        tab.visit(url)
        open_tab()
        assert tab.run(rows) == skipped  # the first that is undecided
        tab.wait("document.querySelectorAll('#rejected [data-restore]').length == 2")
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
        tab.wait("document.querySelectorAll('#rejected [data-restore]').length == 1")
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
def test_the_query_is_in_the_address(page, tmp_path):
    """Typed, reached by Tab, reloaded, gone back from, and typed into the address by a person."""
    shown = "document.querySelector('#shown input:checked').value"
    with site(page[:1]) as served, Tab(tmp_path) as tab:
        tab.visit(served.url)
        tab.wait("document.querySelectorAll('#answer0 .photo-card img').length == 12")
        tab.type("#text input, #text textarea", "picture number 7")
        tab.wait("location.search == '?q=picture+number+7'")
        tab.type("#minus input, #minus textarea", "number 3")
        tab.wait("location.search == '?q=picture+number+7&minus=number+3'")
        for _ in range(20):  # from the box for what is left out to the choice of 12
            tab.press("Tab")
            if tab.run("document.activeElement.type == 'radio'"):
                break
        tab.press("Space")
        tab.wait("location.search.endsWith('&shown=12')")
        tab.click("#answer0 .photo-card .frame")
        tab.wait("location.search.includes('&like=') && " + HEADING + ".startsWith('like')")
        tab.visit(tab.run("location.href"))
        tab.wait(f"{HEADING}.startsWith('like') && {shown} == 12")
        tab.click("#answer0 [data-back]")
        tab.wait(f"{HEADING} == '“picture number 7”, without “number 3”'")
        tab.visit(served.url + "/?q=picture&shown=7&cut=x&like=../&image=zz")
        tab.wait(f"{HEADING} == '“picture”' && location.search == '?q=picture' && {shown} == 24")
        tab.type("#text input, #text textarea", "number 9")
        tab.wait(f"{HEADING} == '“number 9”'")
        tab.run("history.back()")
        tab.wait(
            f"{HEADING} == '“picture”' && document.querySelector('#text input, #text textarea').value == 'picture'"
        )
        assert tab.strangers(served.url) == []


@needs_browser
def test_an_answer_that_takes_long_is_given_up(page, tmp_path, monkeypatch):
    ready, real = threading.Event(), page_module._answer

    def answer(content, library, query, count, cut):
        assert query.text != "picture" or ready.wait(SECONDS)
        return real(content, library, query, count, cut)

    monkeypatch.setattr(page_module, "_answer", answer)
    with site(page[:1]) as served, Tab(tmp_path) as tab:
        tab.visit(served.url)
        tab.wait("document.querySelectorAll('#answer0 .photo-card img').length == 12")
        assert not tab.run(
            "document.querySelector('#busy').checkVisibility({visibilityProperty: true})"
        )
        tab.type("#text input, #text textarea", "picture")
        tab.wait("document.querySelector('#busy [role=status]').textContent == 'Searching…'")
        tab.click("#busy button")
        tab.wait("document.querySelector('#busy [role=status]').textContent == ''")
        tab.type("#text input, #text textarea", "number 9")
        tab.wait(f"{HEADING} == '“number 9”'")
        ready.set()
        assert tab.run(HEADING) == "“number 9”" and tab.strangers(served.url) == []


@needs_browser
def test_keys_decide_and_take_back(page, tmp_path):
    file = tmp_path / "mined/rejected.json"
    rows = "[...document.querySelectorAll('#pair small')].map(text => Number(text.textContent.split(' ')[1]))"
    with site(page) as served, Tab(tmp_path) as tab:
        tab.visit(served.url)
        tab.open_part("Hard pairs")
        tab.wait("document.querySelector('#pair img')?.naturalWidth > 0")

        def press(key: str) -> list[int]:
            """The pair that follows."""
            before = json.dumps(tab.run(rows), separators=(",", ":"))
            tab.press(key)
            tab.wait(f"JSON.stringify({rows}) != '{before}'")
            return tab.run(rows)

        def decisions() -> tuple[list, list]:
            content = json.loads(file.read_text())
            return content["rows"], content["accepted"]

        first = tab.run(rows)
        second = press("y")
        assert decisions() == ([], [first])
        press("n")
        assert decisions() == ([second[1]], [first])
        assert press("u") == second and decisions() == ([], [first])
        press("l")
        assert decisions() == ([second[0]], [first])
        assert press("u") == second
        third = press("j")
        press("ArrowRight")
        assert press("k") == third and press("ArrowLeft") == second
        assert press("u") == first and decisions() == ([], [])
        press("y")
        tab.run("document.querySelector('#rejected summary').click()")
        tab.click("#rejected [data-reopen]")  # after a reload, too, since the file says it
        tab.wait(f"JSON.stringify({rows}) == '{json.dumps(first, separators=(',', ':'))}'")
        assert decisions() == ([], [])
        tab.open_part("Search")
        tab.type("#text input, #text textarea", "yn", enter=False)
        assert decisions() == ([], []) and tab.strangers(served.url) == []


@needs_browser
def test_a_telephone(page, make_index, tmp_path):
    """390 pixels: nothing is wider, no button is cut, and two models stand side by side."""
    long = tmp_path / ("a-very-long-name" * 8)
    long.mkdir()
    make_index(out=tmp_path / "other")
    more = ["--reject", str(long / "rejected.json"), "--compare-with", str(tmp_path / "other")]
    width = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    with site([*page, *more]) as served, Tab(tmp_path) as tab:
        tab.size(390, 800)
        tab.visit(served.url)
        tab.wait("document.querySelectorAll('#answer1 .photo-card img').length == 12")
        boxes = "['#answer0', '#answer1'].map(id => document.querySelector(id + ' .photo-card').getBoundingClientRect())"
        assert tab.run(f"(([a, b]) => a.right <= b.left && a.top == b.top)({boxes})")
        assert tab.run(width)
        tab.open_part("Hard pairs")
        tab.wait("document.querySelector('#pair img')?.naturalWidth > 0")
        buttons = "[...document.querySelectorAll('#decide button, #again button')]"
        assert tab.run(
            f"{buttons}.length == 6 && {buttons}.every(b => b.scrollWidth <= b.clientWidth && b.getBoundingClientRect().right <= innerWidth)"
        )
        assert tab.run(width)


@needs_browser
def test_ctrl_c_with_a_tab_open(page, tmp_path):
    served = Served(page[0], "--port", "0", errors=tmp_path / "errors")
    with served as url, Tab(tmp_path) as tab:
        tab.visit(url)
        tab.wait("document.querySelectorAll('#answer0 .photo-card img').length == 12")
        os.kill(served.process.pid, signal.SIGINT)
        served.process.join(SECONDS)
        assert served.process.exitcode == 130
    assert (tmp_path / "errors").read_text() == "12 photos; Ctrl-C stops it\n"


@needs_browser
@needs_axe
@pytest.mark.parametrize("dark", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_page_against_wcag(page, make_index, tmp_path, dark):
    """Before a query, after it, and the hard pairs with something decided."""
    make_index(out=tmp_path / "other")
    with site([*page, "--compare-with", str(tmp_path / "other")]) as served, Tab(tmp_path) as tab:
        tab.size(1200, 900, dark=dark)
        tab.visit(served.url)
        tab.wait("document.querySelectorAll('#answer1 .photo-card img').length == 12")
        assert axe_faults(tab) == []
        tab.type("#text input, #text textarea", "picture number 7")
        tab.wait(f"{HEADING} == '“picture number 7”'")
        assert axe_faults(tab) == []
        tab.open_part("Hard pairs")
        tab.wait("document.querySelector('#pair img')?.naturalWidth > 0")
        tab.click("#accept")
        tab.wait("!!document.querySelector('#rejected details')")
        tab.click("#left")
        tab.wait("!!document.querySelector('[data-restore]')")
        assert axe_faults(tab) == []


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
        assert SCRIPT is None or axe_faults(tab) == []
        assert tab.strangers(url) == []


def test_hard_pairs_of_a_table_with_other_columns(page, table, tmp_path):
    """The same rows under other names are the same data."""
    other = tmp_path / "other.csv"
    names, _, rows = table.read_text().partition("\n")
    other.write_text(names.replace("filepath", "image").replace("title", "text") + "\n" + rows)
    arguments = ["serve", *page[:-1], str(other), "--csv-img-key", "image"]
    content = page_content(parse_args([*arguments, "--csv-caption-key", "text"]))
    assert content.review.samples.caption(4) == "picture number 4"
    with pytest.raises(UserError, match="title") as error:
        page_content(parse_args(arguments))
    assert error.value.code == 3
    with pytest.raises(UserError, match="nothing says where they are") as error:
        page_content(parse_args(["serve", *page[:3]]))
    assert error.value.code == 2
