"""The comparison of several runs: the table and the files."""

import csv
import json
import statistics

import pytest

from hardpairs.cli.compare_runs import main
from hardpairs.core.errors import UserError
from tests.photos.runs import write_photos, write_run


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path)


@pytest.fixture
def runs(photos):
    """Three seeds of one method, one run of another."""
    seeds = [write_run(photos, f"lstm-{seed}", "lstm", seed=seed, noise=1.5) for seed in range(3)]
    return [*seeds, write_run(photos, "transformer", "transformer", noise=4.0)]


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    monkeypatch.setattr("hardpairs.pages.charts.DPI", 40)


def test_files_hold_means_and_deviations(runs, tmp_path, capsys):
    assert main([*map(str, runs), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    record = json.loads((tmp_path / "out/comparison.json").read_text())
    values = [json.loads((folder / "evaluation.json").read_text()) for folder in runs[:3]]
    for name, of in (
        ("text_to_image_R@1", lambda r: r["text_to_image_R@1"]),
        ("miniclip.MedR", lambda r: r["miniclip"]["MedR"]),
    ):
        found = record["methods"]["lstm"]["metrics"][name]
        assert found["values"] == [of(r) for r in values] and found["mean"] == pytest.approx(
            statistics.fmean(found["values"])
        )
        assert found["sd"] == pytest.approx(statistics.stdev(found["values"]))
    assert record["methods"]["transformer"]["metrics"]["text_to_image_R@1"]["sd"] is None
    assert (
        record["methods"]["lstm"]["seeds"] == [0, 1, 2]
        and record["ceiling"] == values[0]["ceiling"]
    )
    with open(tmp_path / "out/comparison.csv") as file:
        lines = list(csv.DictReader(file))
    line = next(
        row for row in lines if row["method"] == "lstm" and row["metric"] == "text_to_image_MRR"
    )
    assert (
        float(line["mean"]) == record["methods"]["lstm"]["metrics"]["text_to_image_MRR"]["mean"]
        and line["runs"] == "3"
    )
    assert (
        told.out == (tmp_path / "out/comparison.md").read_text()
        and "lstm (n = 3)" in told.out
        and "ceiling" in told.out
    )
    assert len({line.count("|") for line in told.out.splitlines()}) == 1
    theirs = next(line for line in told.out.splitlines() if line.startswith("| MiniCLIP R@1 "))
    assert [cell.strip() for cell in theirs.split("|")[-3:-1]] == [
        "16.7",
        "83.3",  # "cup" and "Cup" of three images: by its rule each is right for one alone
    ]
    assert (tmp_path / "out/metrics_comparison.png").read_bytes() == (
        tmp_path / "out/model_comparison.png"
    ).read_bytes()


def test_runs_without_baselines_or_with_many_methods(photos, tmp_path, capsys):
    folders = [write_run(photos, f"m{i}", f"method {i}", noise=i / 2, full=False) for i in range(9)]
    assert main([*map(str, folders), "--out", str(tmp_path / "out")]) == 0
    assert (
        "ceiling" not in capsys.readouterr().out
        and json.loads((tmp_path / "out/comparison.json").read_text())["ceiling"] == {}
    )
    assert main([str(folders[0])]) == 0  # one run, no files
    assert "method 0 (n = 1)" in capsys.readouterr().out


def test_a_seed_given_twice_is_told(photos, capsys):
    folders = [write_run(photos, name, "lstm", seed=0) for name in ("a", "b")]
    assert main([*map(str, folders)]) == 0
    assert "several runs with seed 0" in capsys.readouterr().err


def test_runs_on_other_data_are_refused(photos, tmp_path):
    other = write_run(write_photos(tmp_path / "other", [["cup"], ["tree"]]), "run", "lstm")
    with pytest.raises(UserError) as error:
        main([str(write_run(photos, "run", "lstm")), str(other)])
    assert error.value.code == 4
