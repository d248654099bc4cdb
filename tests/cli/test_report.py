"""Runs that the report command refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hardpairs.cli import report
from hardpairs.core.errors import Exit, UserError
from tests.reporting.runs import write_data, write_run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A CSV of pairs."""
    return write_data(tmp_path)


class TestRefusals:
    def expect(self, code: Exit, words: str, *arguments: object) -> None:
        with pytest.raises(UserError, match=words) as caught:
            report.main([*map(str, arguments), "--out", "/nowhere/report.html"])
        assert caught.value.code == code

    def test_no_folder(self, tmp_path: Path) -> None:
        self.expect(Exit.USAGE, "no such folder", tmp_path / "nothing")

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
