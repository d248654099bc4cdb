"""The report: its parts, what it says, what it escapes, what it leaves out."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.reporting.runs import make_report, write_run


class Outline(HTMLParser):
    """Section names in order, every tag with its attributes; fails on a tag that is not closed."""

    VOID = ("meta", "img", "br", "path", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert not self.stack

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.stack.pop() == tag

    @property
    def sections(self) -> list[str | None]:
        return [attributes.get("id") for tag, attributes in self.tags if tag == "section"]


class TestPage:
    def test_has_every_part_in_order(self, four: list[Path]) -> None:
        outline = Outline(make_report(four))
        assert outline.sections == [
            "headline",
            "results",
            "training",
            "examples",
            "hard-pairs",
            "batches",
            "made",
        ]

    def test_loads_nothing_from_anywhere(self, four: list[Path]) -> None:
        text = make_report(four)
        outline = Outline(text)
        assert {tag for tag, _ in outline.tags}.isdisjoint(
            {"script", "link", "iframe", "object", "base", "a"}
        )
        sources = [
            value
            for _, attributes in outline.tags
            for name, value in attributes.items()
            if name in ("src", "href", "srcset")
        ]
        assert sources and all(
            str(source).startswith("data:image/jpeg;base64,") for source in sources
        )
        assert "url(" not in text and "@import" not in text
        assert len(text) < 6_000_000

    def test_escapes_what_strangers_wrote(self, four: list[Path]) -> None:
        title = "<b>title</b>"
        text = make_report(four, "--title", title)
        assert "<script" not in text and "\u202e" not in text and title not in text
        assert "&lt;script&gt;" in text and "&lt;b&gt;title&lt;/b&gt;" in text

    def test_every_picture_has_words(self, four: list[Path]) -> None:
        images = [attributes for tag, attributes in Outline(make_report(four)).tags if tag == "img"]
        assert images and all(attributes.get("alt") for attributes in images)

    def test_says_what_came_of_it(self, four: list[Path]) -> None:
        text = make_report(four)
        assert "Hard-pair batches helped: better than plain continuation" in text
        assert "the same 20 steps of 16 pairs" in text
        assert "trained with one seed" in text
        assert "48 test images" in text and "held-out" not in text

    def test_says_where_the_test_was_learned(self, four: list[Path], data: Path) -> None:
        words = "Trained on the data of this test"
        assert f"{words}: base model, plain continuation, hard-pair" in make_report(four)
        lines = data.read_text(encoding="utf-8").splitlines(keepends=True)
        for name, kept, is_seen in (("same", lines, True), ("other", lines[:-1], False)):
            train = data.with_name(f"{name}.csv")
            train.write_text("".join(kept), encoding="utf-8")
            params = write_run(data, "base") / "params.txt"
            params.write_text(params.read_text().replace(str(data), str(train)))
            assert (f"{words}: base model." in make_report(four[:1])) == is_seen

    def test_runs_that_were_only_evaluated(self, data: Path) -> None:
        folders = [write_run(data, method, trained=False) for method in ("mine", "theirs")]
        assert Outline(make_report(folders)).sections == ["headline", "results", "examples", "made"]

    def test_one_run_alone(self, data: Path) -> None:
        assert Outline(make_report([write_run(data, "base", trained=False)])).sections == [
            "results",
            "examples",
            "made",
        ]

    def test_data_that_is_gone_is_left_out_and_named(
        self, four: list[Path], data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data.rename(data.with_suffix(".moved"))
        text = make_report(four)
        assert Outline(text).sections == ["headline", "results", "training", "made"]
        assert "Left out: example queries (no such file" in text
        assert "left out: hard pairs and batches" in capsys.readouterr().err

    def test_same_runs_give_the_same_page(self, four: list[Path]) -> None:
        assert make_report(four) == make_report(four)

    def test_steps_and_licence(self, four: list[Path], tmp_path: Path) -> None:
        (tmp_path / "manifest.json").write_text(
            json.dumps({"licence": "CC BY-SA 4.0, <openmoji>", "options": {"kind": "emoji"}})
        )
        steps = tmp_path / "steps.tsv"
        steps.write_text("train\t75\tpython -m training.main --name 'a<b'\n")
        text = make_report(four, "--steps", str(steps))
        assert "CC BY-SA 4.0, &lt;openmoji&gt;" in text
        assert "python -m training.main --name &#39;a&lt;b&#39;" in text and "1 min 15 s" in text
