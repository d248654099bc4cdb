"""A run's own files, whole and cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hardpairs.training import logs


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

    def test_cut_results(self, tmp_path: Path) -> None:
        (tmp_path / "results.jsonl").write_text('{"epoch": 1, "val_loss": 0.5}\n{"epoch": 2, "va')
        assert [entry["epoch"] for entry in logs.read_validation(tmp_path / "results.jsonl")] == [1]
        (tmp_path / "results.jsonl").write_bytes(b'{"epoch": 1}\n{"epoch": 2, "\xff')
        assert logs.read_validation(tmp_path / "results.jsonl") == [{"epoch": 1}]
        (tmp_path / "results.jsonl").write_text(f'{{"epoch": 1, "x": {"9" * 400}}}')
        assert logs.read_validation(tmp_path / "results.jsonl") == [{"epoch": 1}]
