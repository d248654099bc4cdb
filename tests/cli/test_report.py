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


def refusal(*arguments: object) -> UserError:
    """Return the error that ends the command."""
    with pytest.raises(UserError) as caught:
        report.main([*map(str, arguments), "--out", "/nowhere/report.html"])
    return caught.value


class TestRefusals:
    def test_no_folder(self, tmp_path: Path) -> None:
        error = refusal(tmp_path / "nothing")
        assert error.code == Exit.USAGE and "no such folder" in error.what

    def test_not_evaluated(self, tmp_path: Path) -> None:
        error = refusal(tmp_path)
        assert error.code == Exit.BAD_INPUT and "not evaluated" in error.what
        assert "hardpairs evaluate" in error.fix and f"--out {tmp_path}" in error.fix

    @pytest.mark.parametrize("content", ["{", "[]", '{"image_to_text_R@1": 1}'])
    def test_no_metrics(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "evaluation.json").write_text(content)
        error = refusal(tmp_path)
        assert error.code == Exit.BAD_INPUT and "not an evaluation.json" in error.what

    def test_a_number_that_is_none(self, data: Path) -> None:
        folder = write_run(data, "base")
        record = json.loads((folder / "evaluation.json").read_text())
        (folder / "evaluation.json").write_text(
            json.dumps({**record, "image_to_text_MRR": float("nan")})
        )
        error = refusal(folder)
        assert error.code == Exit.NON_FINITE and "image_to_text_MRR" in error.what

    def test_cut_queries(self, data: Path) -> None:
        folder = write_run(data, "base")
        (folder / "queries.npz").write_bytes((folder / "queries.npz").read_bytes()[:100])
        error = refusal(folder)
        assert error.code == Exit.BAD_INPUT and "unreadable queries.npz" in error.what

    @pytest.mark.parametrize(
        ("name", "value"), [("dataset_fingerprint", "f" * 64), ("ties", "expected")]
    )
    def test_runs_that_cannot_be_compared(self, data: Path, name: str, value: str) -> None:
        one, other = write_run(data, "plain"), write_run(data, "hard")
        record = json.loads((other / "evaluation.json").read_text())
        (other / "evaluation.json").write_text(json.dumps({**record, name: value}))
        error = refusal(one, other)
        assert error.code == Exit.MISMATCH and "was evaluated" in error.what

    def test_data_that_changed_since(self, data: Path) -> None:
        folder = write_run(data, "plain")
        data.write_text(data.read_text().replace("thing number 1,", "thing number one,"))
        error = refusal(folder)
        assert error.code == Exit.MISMATCH and "made from other data" in error.what

    def test_one_run_twice(self, data: Path) -> None:
        folder = write_run(data, "plain")
        error = refusal(folder, folder / ".." / folder.name)
        assert error.code == Exit.USAGE and "given twice" in error.what

    def test_steps(self, data: Path, tmp_path: Path) -> None:
        folder = write_run(data, "plain")
        error = refusal(folder, "--steps", tmp_path / "none.tsv")
        assert error.code == Exit.USAGE and "no such file" in error.what
        (tmp_path / "steps.tsv").write_text("a\t1\tb\nmine three seconds\n")
        error = refusal(folder, "--steps", tmp_path / "steps.tsv")
        assert error.code == Exit.BAD_INPUT and "not a line of step" in error.what

    def test_reserved_name(self, data: Path) -> None:
        error = refusal(write_run(data, "spread"))
        assert error.code == Exit.USAGE and "cannot be called" in error.what
