"""The results as numbers for programs, and as a table for the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.reporting.runs import ROWS, make_report, write_hard_pairs, write_run


class TestSummary:
    def test_has_every_number(self, four: list[Path], tmp_path: Path) -> None:
        (tmp_path / "steps.tsv").write_text("mine\t3\tpython -m mining\n")
        make_report(
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
        text = make_report(folders, "--summary", str(tmp_path / "summary.json"))
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
        assert f"{100 * min(values):.1f} to {100 * max(values):.1f} by seed" in text

    def test_table_of_the_terminal(
        self, four: list[Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        make_report(four)
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
