"""The report on small run folders: what it says, what it escapes, what it refuses, what it leaves out."""

from __future__ import annotations

import csv
import doctest
import json
import re
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from hardpairs.batches import HardPairBatchSampler, RandomBatchSampler
from hardpairs.cli import report
from hardpairs.core.errors import Exit, UserError
from hardpairs.data.hard_pairs import HardPairTable, table_folder, write_helip, write_table
from hardpairs.data.samples import Samples, open_samples
from hardpairs.embedding.stream import Embedded
from hardpairs.evaluating import runs
from hardpairs.evaluating.compare import HEADLINE, Difference, compare
from hardpairs.evaluating.results import write_results
from hardpairs.evaluating.retrieval import evaluate
from hardpairs.metrics.significance import bootstrap_interval, paired_permutation_test
from hardpairs.pages import charts as figures
from hardpairs.pages import numbers, pictures
from hardpairs.pages.pictures import Album
from hardpairs.reporting import mined, provenance, wording
from hardpairs.reporting.examples import example_queries, kinds_of_queries
from hardpairs.reporting.summary import terminal_table
from hardpairs.training import logs
from tests.helpers import picture

ROWS, WIDTH, NOISE = 48, 16, {"base": 0.75, "plain": 0.7, "hard": 0.35, "hard_sanw": 0.4}
ATTACK = '<script>alert("x")</script> & \u202egnp.'


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals take most of the time of a small page."""
    monkeypatch.setattr(
        "hardpairs.evaluating.compare.bootstrap_interval", partial(bootstrap_interval, rounds=50)
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A CSV of 24 things with two pictures each; one caption is an attack, one picture is no picture."""
    (tmp_path / "images").mkdir()
    path = tmp_path / "pairs.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "title", "group"])
        for row in range(ROWS):
            place = tmp_path / f"images/{row}.jpg"
            place.write_bytes(b"no picture" if row == 5 else picture(row))
            writer.writerow(
                [place, ATTACK if row // 2 == 3 else f"thing number {row // 2}", row // 2]
            )
    return path


@pytest.fixture
def samples(data: Path) -> Samples:
    return open_samples(data)


@pytest.fixture
def table(data: Path, samples: Samples) -> HardPairTable:
    """Each row's hard pairs are the six rows of the next three things; scores fall from .95."""
    indices = np.array(
        [[(2 * (row // 2) + 2 + step) % ROWS for step in range(6)] for row in range(ROWS)]
    )
    scores = np.tile(np.linspace(0.95, 0.5, 6, dtype=np.float32), (ROWS, 1))
    manifest = {
        "dataset_fingerprint": samples.fingerprint,
        "options": {"mining_method": "HPM", "duplicate_threshold": 0.98},
    }
    made = write_table(table_folder(data.parent, "pairs"), indices, scores, manifest)
    write_helip(data.parent, "pairs", made)
    return HardPairTable.open(table_folder(data.parent, "pairs"))


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def embedded(method: str, seed: int) -> Embedded:
    """A model whose pictures lie near their things' captions, the nearer the less noise its method has."""
    things = np.repeat(np.random.default_rng(0).normal(size=(ROWS // 2, WIDTH)), 2, axis=0)
    noise = np.random.default_rng([sum(map(ord, method)), seed]).normal(size=(ROWS, WIDTH))
    return Embedded(
        unit(things + 2 * NOISE.get(method, 0.5) * noise), unit(things), np.arange(ROWS), {}
    )


def params_of(data: Path, method: str, seed: int) -> str:
    options = {
        "train_data": data,
        "csv_separator": ",",
        "csv_img_key": "filepath",
        "csv_caption_key": "title",
        "csv_group_key": "group",
        "model": "hardpairs-test",
        "pretrained": "" if method == "base" else data.parent / "base/checkpoints/epoch_1.pt",
        "batch_size": 8,
        "world_size": 2,
        "accum_freq": 1,
        "seed": seed,
        "lr": 0.001,
        "max_steps": 20,
        "epochs": 1,
        "batching": "hard-pairs" if method.startswith("hard") else "random",
        "hard_dict_dir": data.parent / "pairs_hard_sample.csv"
        if method.startswith("hard")
        else None,
        "hard_per_target": 1,
        "hard_topk": 6,
        "empty_rows": "random",
        "loss_fn": "sanw_debias" if method == "hard_sanw" else "clip_ce",
        "sanw_delta": 0.6,
    }
    return "".join(f"{name}: {value}\n" for name, value in sorted(options.items()))


def write_run(data: Path, method: str, seed: int = 0, *, trained: bool = True) -> Path:
    """A run folder as training and tools.evaluate leave it."""
    samples, folder = open_samples(data), data.parent / (method + (f"-seed{seed}" if seed else ""))
    beside = table_folder(data.parent, "pairs")
    table = HardPairTable.open(beside) if beside.is_dir() else None
    metrics, arrays = evaluate(samples, embedded(method, seed), table)
    record = {
        "method": method,
        "seed": seed,
        "model": "hardpairs-test",
        "weights": "sha256:" + "0" * 64,
        "data": str(data),
        "dataset_fingerprint": samples.fingerprint,
        "ties": "pessimistic",
        **metrics,
    }
    write_results(folder, record, arrays)
    if trained:
        (folder / "params.txt").write_text(params_of(data, method, seed))
        header = "epoch,step,loss,temp,lr,w_mean\n"
        (folder / "weights.csv").write_text(
            "epoch,step\n" + "".join(f"{epoch},9" + ",5" * 20 + "\n" for epoch in range(2))
        )
        (folder / "metrics.csv").write_text(
            header + "".join(f"0,{i},{1 / (i + 1)},14.3,.001,.9\n" for i in range(0, 20, 5))
        )
        (folder / "checkpoints").mkdir(exist_ok=True)
        (folder / "checkpoints/results.jsonl").write_text(
            '{"epoch": 1, "image_to_text_R@1": 0.5, "text_to_image_R@1": 0.4}\n{"epoch": 2, "im'
        )
    return folder


@pytest.fixture
def four(data: Path, table: HardPairTable) -> list[Path]:
    return [write_run(data, method) for method in ("base", "plain", "hard", "hard_sanw")]


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

    def test_means_and_spread_over_seeds(
        self, data: Path, table: HardPairTable, tmp_path: Path
    ) -> None:
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
        self.expect(Exit.BAD_INPUT, "not a evaluation.json", tmp_path)

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


class TestCompare:
    def test_reference_hero_and_order(self, four: list[Path]) -> None:
        comparison = compare(runs.read_methods(four))
        assert comparison.reference is not None and comparison.hero is not None
        assert (comparison.reference.name, comparison.hero.name) == ("plain", "hard")
        others = compare(runs.read_methods(four[3:] + four[:1]))
        assert others.reference is not None and others.hero is not None
        assert (others.reference.name, others.hero.name) == ("hard_sanw", "base")

    def test_difference_is_the_library_s(self, four: list[Path]) -> None:
        methods = runs.read_methods(four)
        difference = compare(methods).differences["hard"]["text_to_image_R@5"]
        ours, theirs = (
            method.first.queries["text_to_image_ranks"] <= 5 for method in (methods[2], methods[1])
        )
        assert difference.p == paired_permutation_test(ours, theirs)
        assert difference.value == pytest.approx(ours.mean() - theirs.mean())

    def test_other_numbers_of_seeds(self, data: Path, table: HardPairTable) -> None:
        folders = [write_run(data, "plain", seed) for seed in (0, 1, 2)] + [
            write_run(data, "hard", seed) for seed in (1, 2)
        ]
        difference = compare(runs.read_methods(folders)).differences["hard"]["text_to_image_R@1"]
        assert difference.p is not None and len(difference.by_seed) == 2

    @pytest.mark.parametrize(
        ("difference", "verdict"),
        [
            (Difference(0.1, 0.01, 0.0, 0.2, (0.1,), 1), "better"),
            (Difference(0.1, 0.01, 0.0, 0.2, (0.1,), -1), "worse"),
            (Difference(0.1, 0.2, -0.1, 0.2, (0.1,), 1), "unclear"),
            (Difference(0.1, 0.01, 0.0, 0.2, (0.3, -0.1), 1), "unclear"),
            (Difference(0.1, None, None, None, (0.1,), 1), "untested"),
        ],
    )
    def test_verdict(self, difference: Difference, verdict: str) -> None:
        assert difference.verdict == verdict

    def test_without_the_hard_pair_questions(self, data: Path) -> None:
        comparison = compare(runs.read_methods([write_run(data, "plain"), write_run(data, "hard")]))
        assert not comparison.has(HEADLINE[-1])
        assert "beats" not in terminal_table(comparison)


class TestWording:
    def with_headline(self, four: list[Path], **values: tuple[float, float]) -> list[str]:
        """Verdicts when hard's four headline differences are (value, p)."""
        comparison = compare(runs.read_methods(four))
        made = [
            Difference(value, p, value - 0.01, value + 0.01, (value,), 1)
            for value, p in values.values()
        ]
        changed = {**comparison.differences, "hard": dict(zip(HEADLINE, made, strict=True))}
        return [
            sentence for _, sentence in wording.verdicts(replace(comparison, differences=changed))
        ]

    @pytest.mark.parametrize(
        ("differences", "words"),
        [
            (
                [(0.1, 0.01)] * 4,
                "Hard-pair batches helped: better than plain continuation on all four headline figures.",
            ),
            ([(0.1, 0.01)] * 2 + [(0.0, 0.9)] * 2, "no difference can be shown"),
            ([(-0.1, 0.01)] * 4, "Hard-pair batches did not help: worse than"),
            ([(0.1, 0.5)] * 4, "did not help measurably"),
            ([(0.1, 0.01), (-0.1, 0.01)] * 2, "but worse on"),
        ],
    )
    def test_says_it_as_it_is(
        self, four: list[Path], differences: list[tuple[float, float]], words: str
    ) -> None:
        assert words in self.with_headline(four, **dict(zip("abcd", differences, strict=True)))[0]

    def test_warns_of_models_below_their_start(self, four: list[Path]) -> None:
        comparison = compare(runs.read_methods(four))
        assert not any("hard-pair" in sentence for sentence in wording.warnings(comparison))
        best = {**comparison.values["base"], "image_to_text_R@1": 1.0, "text_to_image_R@1": 1.0}
        raised = replace(comparison, values={**comparison.values, "base": best})
        assert "below the base model's 100.0 %" in wording.warnings(raised)[0]

    def test_claims_equal_settings_only_when_they_are(self, four: list[Path]) -> None:
        (four[2] / "params.txt").write_text(
            (four[2] / "params.txt").read_text().replace("lr: 0.001", "lr: 0.002")
        )
        done = wording.what_was_done(compare(runs.read_methods(four)), pairs=ROWS, depth=6)
        assert len(done) == 3 and "settings that differ" in done[2]


class TestPictures:
    def test_text_is_cleaned(self) -> None:
        assert pictures.shown_text("a\x00b\u202e c\n\nd \ud800") == "a b c d"
        assert len(pictures.shown_text("x" * 1000)) == pictures.MAX_CAPTION

    def test_thumbnails_are_small_and_encoded_anew(self) -> None:
        uri, width, height = pictures.thumbnail(picture(0), side=10)
        assert uri.startswith("data:image/jpeg;base64,") and max(width, height) <= 10

    def test_a_picture_that_is_none(self, samples: Samples) -> None:
        assert Album(samples).picture(5).uri == "" and Album(samples).picture(4).uri

    def test_page_shows_that_it_is_none(self, four: list[Path]) -> None:
        album, comparison = (
            Album(open_samples(four[0].parent / "pairs.csv")),
            compare(runs.read_methods(four)),
        )
        kinds = example_queries(comparison, album)["text_to_image"]
        rows = {
            shown.row
            for kind in kinds
            for e in kind.examples
            for a in e.answers
            for shown, _ in a.pictures
        }
        assert (5 in rows) <= ("a picture that cannot be read" in make(four))


class TestExamples:
    def test_kinds_do_not_overlap(self, four: list[Path]) -> None:
        comparison = compare(runs.read_methods(four))
        for direction in runs.DIRECTIONS:
            masks = np.array([mask for _, mask in kinds_of_queries(comparison, direction)])
            assert masks.sum(axis=0).max() <= 1

    def test_marks_are_right_and_groups_differ(self, four: list[Path], samples: Samples) -> None:
        comparison = compare(runs.read_methods(four))
        for kinds in example_queries(comparison, Album(samples)).values():
            for kind in kinds:
                groups = [samples.group(example.query.row) for example in kind.examples]
                assert len(set(groups)) == len(groups) == min(kind.count, 3) or kind.count > len(
                    groups
                )
                for example, group in zip(kind.examples, groups, strict=True):
                    for answers in example.answers:
                        assert [right for _, right in answers.pictures] == [
                            samples.group(p.row) == group for p, _ in answers.pictures
                        ]
                        assert (answers.rank == 1) == answers.pictures[0][1]


class TestMined:
    def test_partners_show_different_things(self, table: HardPairTable, samples: Samples) -> None:
        for anchor in mined.anchors(table, Album(samples)):
            groups = [samples.group(partner.picture.row) for partner in anchor.partners]
            assert len(set(groups)) == len(groups) == 3
            assert [partner.place for partner in anchor.partners] == [1, 3, 5]

    def test_lookalikes_are_different_pairs_of_things(
        self, table: HardPairTable, samples: Samples
    ) -> None:
        found = mined.lookalikes(table, Album(samples))
        assert len(found) == mined.LOOKALIKES and all(
            anchor.partners[0].score >= mined.LOOKALIKE_SCORE for anchor in found
        )
        pairs = {
            frozenset((samples.group(a.picture.row), samples.group(a.partners[0].picture.row)))
            for a in found
        }
        assert len(pairs) == len(found)
        assert (
            mined.lookalikes(replace(table, scores=np.full_like(table.scores, 0.5)), Album(samples))
            == []
        )

    def test_batches_are_the_samplers_own(
        self, four: list[Path], table: HardPairTable, samples: Samples
    ) -> None:
        random, hard = mined.batches(runs.read_run(four[2]), table, Album(samples))
        first = HardPairBatchSampler(
            ROWS, table, batch_size=8, hard_topk=6, rank=0, world_size=2
        ).batch(0)
        second = HardPairBatchSampler(
            ROWS, table, batch_size=8, hard_topk=6, rank=1, world_size=2
        ).batch(0)
        assert [picture.row for group in hard.groups for picture, _ in group] == [*first, *second]
        assert [is_mined for group in hard.groups for _, is_mined in group] == [False, True] * 8
        plain = RandomBatchSampler(ROWS, batch_size=16).batch(0)
        assert [picture.row for group in random.groups for picture, _ in group] == plain.tolist()
        assert hard.own_partners > random.own_partners and hard.mined_share == 1


class TestLogs:
    def test_options(self, tmp_path: Path) -> None:
        (tmp_path / "params.txt").write_text(
            "a: 1\nb: 1e-3\nc: None\nd: True\ne: 2024-run\nf: x: y\ng: \nh: \t\n"
        )
        expected = {
            "a": 1,
            "b": 1e-3,
            "c": None,
            "d": True,
            "e": "2024-run",
            "f": "x: y",
            "g": "",
            "h": "\t",
        }
        assert logs.read_params(tmp_path / "params.txt") == expected
        assert logs.read_params(tmp_path / "none.txt") == {}

    def test_step_log_of_a_run_that_was_resumed_and_cut(self, tmp_path: Path) -> None:
        (tmp_path / "metrics.csv").write_text("step,loss,w_mean\n0,5,\n10,4,\n20,9,\n20,3,\n30,2.")
        log = logs.read_log(tmp_path / "metrics.csv")
        assert (
            log["step"].tolist() == [0, 10, 20, 30]
            and log["loss"].tolist() == [5, 4, 3, 2]
            and "w_mean" not in log
        )

    def test_weights_are_shares_by_epoch(self, tmp_path: Path) -> None:
        lines = ["epoch,step," + ",".join(f"{i / 20:.2f}" for i in range(20))]
        lines += [
            f"{epoch},{step}," + ",".join(["3"] * 19 + [str(last)])
            for epoch, step, last in ((0, 5, 3), (0, 10, 37), (1, 15, 3))
        ]
        (tmp_path / "weights.csv").write_text("\n".join([*lines, "1,20,3,3"]))
        found = logs.read_weights(tmp_path / "weights.csv")
        assert found[0][-1] == pytest.approx(40 / (38 * 3 + 40)) and found[1] == pytest.approx(
            np.full(20, 0.05)
        )
        assert logs.read_weights(tmp_path / "none.csv") == {}

    def test_another_metrics_csv_is_no_step_log(self, tmp_path: Path) -> None:
        (tmp_path / "metrics.csv").write_text("metric,value\nseed,0\n")
        assert logs.read_log(tmp_path / "metrics.csv") == {}

    def test_cut_results(self, four: list[Path]) -> None:
        assert [
            entry["epoch"] for entry in logs.read_validation(four[0] / "checkpoints/results.jsonl")
        ] == [1]


class TestFigures:
    @pytest.mark.parametrize(
        ("low", "high"), [(0, 1), (-3.2, 7.9), (0, 2e-5), (17.3, 17.8), (0, 123456), (5, 5)]
    )
    def test_ticks(self, low: float, high: float) -> None:
        found = figures.ticks(low, high)
        assert 1 <= len(found) <= 6 and all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)

    def test_lines_stay_in_their_box(self) -> None:
        x = np.arange(1000.0)
        chart = figures.line_chart(
            "loss", [(0, "a", x, np.sin(x)), (1, "b", x, np.where(x > 500, np.nan, 2.0))]
        )
        assert chart is not None and [line.is_first for line in chart.lines] == [True, True]
        places = [
            float(number) for line in chart.lines for number in re.findall(r"-?[\d.]+", line.path)
        ]
        assert min(places) >= 0 and max(places) <= 100 and len(places) <= 4 * figures.MAX_POINTS

    def test_nothing_to_draw(self) -> None:
        assert figures.line_chart("loss", []) is None
        assert figures.line_chart("loss", [(0, "a", np.arange(3.0), np.zeros(3))]) is None

    def test_intervals_hold_their_dots(self, four: list[Path]) -> None:
        found = figures.intervals(compare(runs.read_methods(four)))
        assert found is not None and len(found.rows) == 4
        for _, rows in found.rows:
            for row in rows:
                assert 0 <= row.left <= row.centre <= row.left + row.width <= 100

    def test_base_and_continuations_are_told_apart(self, four: list[Path]) -> None:
        titles = [chart.title for chart in figures.training_charts(runs.read_methods(four))]
        assert (
            titles[:2] == ["Base model: loss", "Continuations: loss"]
            and "SANW: mean weight of a negative" in titles
        )


class TestProvenance:
    def test_settings_show_what_differs_and_what_is_in_effect(self, four: list[Path]) -> None:
        methods, rows = provenance.settings(runs.read_methods(four))
        table = {name: values for name, values in rows}
        assert len(methods) == 4 and len(table) == len(rows)
        assert table["loss_fn"] == ["clip_ce", "clip_ce", "clip_ce", "sanw_debias"]
        assert table["sanw_delta"] == ["–", "–", "–", "0.6"] and table["hard_topk"] == [
            "–",
            "–",
            "6",
            "6",
        ]
        assert table["rows of a global batch"] == ["16"] * 4 and "csv_img_key" not in table

    def test_download(self, shards: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        status = ["success"] * 7 + ["failed_to_download"] * 2
        columns = {
            "status": status,
            "error_message": [None] * 7 + ["HTTP Error 404: Not Found"] * 2,
        }
        pq.write_table(pa.table(columns), shards / "00000.parquet")
        found = provenance.download(
            str(shards), open_samples(shards), image_key="filepath", separator=None
        )
        assert found is not None and found.entries == 9
        assert found.lost == [("failed_to_download: HTTP Error 404: Not Found", 2)]
        assert dict(found.unusable) == {"empty caption": 1, "missing image": 1}

    def test_no_download(self, data: Path, samples: Samples) -> None:
        assert provenance.download(str(data), samples, image_key="filepath", separator=None) is None

    def test_a_manifest_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "manifest.json").write_text('{"kind": "embeddings"}')
        assert provenance.demo_manifest(str(tmp_path / "train.csv")) == {}


@pytest.mark.parametrize("module", [numbers, pictures, figures])
def test_examples_in_docstrings(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted and not result.failed
