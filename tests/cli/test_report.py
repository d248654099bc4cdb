"""The report command on small run folders: what it says, escapes, refuses and leaves out."""

from __future__ import annotations

import json
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from hardpairs.cli import report
from hardpairs.core.errors import Exit, UserError
from hardpairs.metrics.significance import bootstrap_interval
from tests.reporting.runs import ROWS, write_data, write_four, write_hard_pairs, write_run


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals take most of the time of a small page."""
    fewer = partial(bootstrap_interval, rounds=50)
    monkeypatch.setattr("hardpairs.evaluating.methods.bootstrap_interval", fewer)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A CSV of pairs."""
    return write_data(tmp_path)


@pytest.fixture
def four(data: Path) -> list[Path]:
    """Runs of four methods."""
    return write_four(data)


def make(folders: list[Path], *flags: str) -> str:
    out = folders[0].parent / "report.html"
    assert report.main([*map(str, folders), "--out", str(out), *flags]) == Exit.OK
    return out.read_text(encoding="utf-8")


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
        outline = Outline(make(four))
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
        text = make(four)
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
        text = make(four, "--title", title)
        assert "<script" not in text and "\u202e" not in text and title not in text
        assert "&lt;script&gt;" in text and "&lt;b&gt;title&lt;/b&gt;" in text

    def test_every_picture_has_words(self, four: list[Path]) -> None:
        images = [attributes for tag, attributes in Outline(make(four)).tags if tag == "img"]
        assert images and all(attributes.get("alt") for attributes in images)

    def test_says_what_came_of_it(self, four: list[Path]) -> None:
        text = make(four)
        assert "Hard-pair batches helped: better than plain continuation" in text
        assert "the same 20 steps of 16 pairs" in text
        assert "trained with one seed" in text

    def test_runs_that_were_only_evaluated(self, data: Path) -> None:
        folders = [write_run(data, method, trained=False) for method in ("mine", "theirs")]
        assert Outline(make(folders)).sections == ["headline", "results", "examples", "made"]

    def test_one_run_alone(self, data: Path) -> None:
        assert Outline(make([write_run(data, "base", trained=False)])).sections == [
            "results",
            "examples",
            "made",
        ]

    def test_data_that_is_gone_is_left_out_and_named(
        self, four: list[Path], data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data.rename(data.with_suffix(".moved"))
        text = make(four)
        assert Outline(text).sections == ["headline", "results", "training", "made"]
        assert "Left out: example queries (no such file" in text
        assert "left out: hard pairs and batches" in capsys.readouterr().err

    def test_same_runs_give_the_same_page(self, four: list[Path]) -> None:
        assert make(four) == make(four)

    def test_steps_and_licence(self, four: list[Path], tmp_path: Path) -> None:
        (tmp_path / "manifest.json").write_text(
            json.dumps({"licence": "CC BY-SA 4.0, <openmoji>", "options": {"kind": "emoji"}})
        )
        steps = tmp_path / "steps.tsv"
        steps.write_text("train\t75\tpython -m training.main --name 'a<b'\n")
        text = make(four, "--steps", str(steps))
        assert "CC BY-SA 4.0, &lt;openmoji&gt;" in text
        assert "python -m training.main --name &#39;a&lt;b&#39;" in text and "1 min 15 s" in text


class TestSummary:
    def test_has_every_number(self, four: list[Path], tmp_path: Path) -> None:
        (tmp_path / "steps.tsv").write_text("mine\t3\tpython -m mining\n")
        make(
            four,
            "--summary",
            str(tmp_path / "summary.json"),
            "--steps",
            str(tmp_path / "steps.tsv"),
        )
        summary = json.loads((tmp_path / "summary.json").read_text())
        record = json.loads((four[2] / "evaluation.json").read_text())
        assert summary["hard"]["image_to_text_R@1"] == record["image_to_text_R@1"]
        assert summary["seconds"] == {"mine": 3}
        assert (
            summary["mined"]["rows_with_pairs"] == ROWS and summary["mined"]["pairs_per_row"] == 6
        )
        assert {"python", "torch", "open_clip", "img2dataset", "platform"} <= summary[
            "versions"
        ].keys()
        assert summary["tests"]["reference"] == "plain"
        assert 0 < summary["tests"]["methods"]["hard"]["text_to_image_MRR"]["p"] <= 1
        assert "spread" not in summary

    def test_means_and_spread_over_seeds(self, data: Path, tmp_path: Path) -> None:
        write_hard_pairs(data)
        folders = [write_run(data, "plain", seed) for seed in (0, 1, 2)] + [
            write_run(data, "hard", seed) for seed in (0, 1, 2)
        ]
        text = make(folders, "--summary", str(tmp_path / "summary.json"))
        summary = json.loads((tmp_path / "summary.json").read_text())
        values = [
            json.loads((folder / "evaluation.json").read_text())["text_to_image_R@1"]
            for folder in folders[3:]
        ]
        assert summary["hard"]["text_to_image_R@1"] == pytest.approx(np.mean(values))
        assert summary["spread"]["hard"]["text_to_image_R@1"] == pytest.approx(
            np.std(values, ddof=1)
        )
        assert "3 seeds for each method" in text

    def test_table_of_the_terminal(
        self, four: list[Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        make(four)
        lines = capsys.readouterr().out.splitlines()
        assert [line.split("  ")[0].strip() for line in lines[2:6]] == [
            "base model",
            "",
            "",
            "plain continuation",
        ]
        assert "minus plain" in lines[3] and lines[4].split()[0] == "p"
        assert lines[-1] == f"report: {four[0].parent / 'report.html'}"
        assert max(map(len, lines[:-1])) <= 110 and all(line.isascii() for line in lines[:-1])


class TestRefusals:
    def expect(self, code: Exit, words: str, *arguments: object) -> None:
        with pytest.raises(UserError, match=words) as caught:
            report.main([*map(str, arguments), "--out", "/nowhere/report.html"])
        assert caught.value.code == code

    def test_no_folder(self, tmp_path: Path) -> None:
        self.expect(Exit.USAGE, "no such run folder", tmp_path / "nothing")

    def test_not_evaluated(self, tmp_path: Path) -> None:
        self.expect(Exit.BAD_INPUT, "not evaluated", tmp_path)

    @pytest.mark.parametrize("content", ["{", "[]", '{"image_to_text_R@1": 1}'])
    def test_no_metrics(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "evaluation.json").write_text(content)
        self.expect(Exit.BAD_INPUT, "not an evaluation.json", tmp_path)

    def test_a_number_that_is_none(self, data: Path) -> None:
        folder = write_run(data, "base")
        record = json.loads((folder / "evaluation.json").read_text())
        (folder / "evaluation.json").write_text(
            json.dumps({**record, "image_to_text_MRR": float("nan")})
        )
        self.expect(Exit.NON_FINITE, "image_to_text_MRR", folder)

    def test_cut_queries(self, data: Path) -> None:
        folder = write_run(data, "base")
        (folder / "queries.npz").write_bytes((folder / "queries.npz").read_bytes()[:100])
        self.expect(Exit.BAD_INPUT, "unreadable queries.npz", folder)

    @pytest.mark.parametrize(
        ("name", "value"), [("dataset_fingerprint", "f" * 64), ("ties", "expected")]
    )
    def test_runs_that_cannot_be_compared(self, data: Path, name: str, value: str) -> None:
        one, other = write_run(data, "plain"), write_run(data, "hard")
        record = json.loads((other / "evaluation.json").read_text())
        (other / "evaluation.json").write_text(json.dumps({**record, name: value}))
        self.expect(Exit.MISMATCH, "was evaluated", one, other)

    def test_data_that_changed_since(self, data: Path) -> None:
        folder = write_run(data, "plain")
        data.write_text(data.read_text().replace("thing number 1,", "thing number one,"))
        self.expect(Exit.MISMATCH, "made from other data", folder)

    def test_one_run_twice(self, data: Path) -> None:
        folder = write_run(data, "plain")
        self.expect(Exit.USAGE, "given twice", folder, folder / ".." / folder.name)

    def test_steps(self, data: Path, tmp_path: Path) -> None:
        folder = write_run(data, "plain")
        self.expect(Exit.USAGE, "no such file", folder, "--steps", tmp_path / "none.tsv")
        (tmp_path / "steps.tsv").write_text("a\t1\tb\nmine three seconds\n")
        self.expect(Exit.BAD_INPUT, "not a line of step", folder, "--steps", tmp_path / "steps.tsv")

    def test_reserved_name(self, data: Path) -> None:
        self.expect(Exit.USAGE, "cannot be called", write_run(data, "spread"))
