"""Several runs: mean and deviation over seeds, in the table, the files and the figure."""

import csv
import json
import statistics

import numpy as np
import pytest

from hardpairs.cli.compare_runs import main
from hardpairs.core.errors import UserError
from hardpairs.evaluating.runs import read_methods
from hardpairs.pages.numbers import value_text
from hardpairs.reporting.plots import style
from hardpairs.reporting.plots.comparison import SHOWN, metrics_comparison
from hardpairs.reporting.spread import Spread, measured, reference, spread, spread_of, spread_text
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
    monkeypatch.setattr(style, "DPI", 40)


def test_spread_by_hand():
    found = spread_of([0.4, 0.5, 0.6])
    assert (
        found.mean == pytest.approx(0.5)
        and found.sd == pytest.approx(0.1)
        and found.values == (0.4, 0.5, 0.6)
    )
    assert spread_of([0.5]).sd is None
    assert (
        spread_text(found, "share") == "50.0 ± 10.0"
        and spread_text(found, "score") == ".500 ± .100"
    )
    assert (
        spread_text(Spread(39.0625, 3.125, ()), "percent") == "39.1 ± 3.1"
        and spread_text(Spread(7.0, 0.5, ()), "rank") == "7 ± 0.5"
    )
    assert spread_text(spread_of([0.5]), "share") == "50.0"


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
        value_text(reference(read_methods(runs), "ceiling")["text_to_image_R@1"], "share"),
    ]
    assert (tmp_path / "out/metrics_comparison.png").read_bytes() == (
        tmp_path / "out/model_comparison.png"
    ).read_bytes()


def test_figure_is_the_table(runs):
    methods = read_methods(runs)
    figure = metrics_comparison(methods)
    assert [axes.get_title() for axes in figure.axes] == ["text → image", "image → text"]
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    expected = [
        100 * spread(method)[f"text_to_image_{name}"].mean for name in SHOWN for method in methods
    ]
    assert widths == pytest.approx(expected)
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert spread_text(spread(methods[0])["text_to_image_R@1"], "share") in shown
    ceiling = 100 * reference(methods, "ceiling")["text_to_image_R@1"]
    lines = [
        segment[0][0]
        for collection in figure.axes[0].collections
        for segment in collection.get_segments()
    ]
    assert np.isclose(lines, ceiling).any() and np.isclose(lines, 100 / 6).any()


def test_runs_without_baselines_or_with_many_methods(photos, tmp_path, capsys):
    folders = [write_run(photos, f"m{i}", f"method {i}", noise=i / 2, full=False) for i in range(9)]
    assert main([*map(str, folders), "--out", str(tmp_path / "out")]) == 0
    assert (
        "ceiling" not in capsys.readouterr().out
        and json.loads((tmp_path / "out/comparison.json").read_text())["ceiling"] == {}
    )
    assert main([str(folders[0])]) == 0  # one run, no files
    assert "method 0 (n = 1)" in capsys.readouterr().out


def test_only_what_all_runs_of_a_method_have(photos):
    folders = [
        write_run(photos, "a", "lstm", seed=0),
        write_run(photos, "b", "lstm", seed=1, full=False),
    ]
    method = read_methods(folders)[0]
    assert "miniclip.R@1" in measured(method.runs[0]) and "miniclip.R@1" not in spread(method)


def test_a_seed_given_twice_is_told(photos, capsys):
    folders = [write_run(photos, name, "lstm", seed=0) for name in ("a", "b")]
    assert main([*map(str, folders)]) == 0
    assert "several runs with seed 0" in capsys.readouterr().err


def test_runs_on_other_data_are_refused(photos, tmp_path):
    other = write_run(write_photos(tmp_path / "other", [["cup"], ["tree"]]), "run", "lstm")
    with pytest.raises(UserError) as error:
        main([str(write_run(photos, "run", "lstm")), str(other)])
    assert error.value.code == 4
