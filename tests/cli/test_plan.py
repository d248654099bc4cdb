"""``hardpairs plan`` prints predictions, and says what to type where constants are missing."""

from __future__ import annotations

import json

import pytest

from hardpairs.cli import plan
from hardpairs.core.errors import UserError
from tests.planning.machines import MACHINE, WITH_MODEL


@pytest.fixture
def machine(tmp_path):
    WITH_MODEL.save(tmp_path / "machine.json")
    return ["--machine", str(tmp_path / "machine.json")]


def test_it_prints_a_line_for_each_piece_of_work_and_number_of_processes(machine, capsys):
    words = ["--rows", "100000", "--dims", "64", "64", *machine, "--devices", "1", "2", "2"]
    assert plan.main([*words, "--approximate"]) == 0
    shown = capsys.readouterr()
    assert [line[:11].strip() for line in shown.out.splitlines()[1:]] == [
        *("embed", "embed", "mine, exact", "mine, exact", "mine, ivf", "mine, ivf"),
        *("train", "train"),
    ]
    assert "ivf is taken to compare 10.0% of the pairs" in shown.err
    assert plan.main([*words, "--json"]) == 0
    costs = json.loads(capsys.readouterr().out)
    assert [cost["processes"] for cost in costs] == [1, 2] * 3
    assert costs[2]["seconds"] == pytest.approx(sum(costs[2]["stages"].values()))


def test_fewer_pairs_take_less_time(machine, capsys):
    words = ["--rows", "1000000", "--dims", "64", "64", *machine, "--json", "--approximate"]
    seconds = []
    for share in ("0.01", "0.5"):
        plan.main([*words, "--compared", share])
        costs = json.loads(capsys.readouterr().out)
        seconds.append(next(c["seconds"] for c in costs if c["work"] == "mine, ivf"))
    assert seconds[0] < seconds[1]


def test_without_a_model_mining_alone_is_predicted(tmp_path, capsys):
    MACHINE.save(tmp_path / "machine.json")
    plan.main(["--rows", "9", "--dims", "8", "8", "--machine", str(tmp_path / "machine.json")])
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2 and "calibrate with --model" in shown.err


def test_without_a_calibration_it_says_what_to_type(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="hardpairs plan --calibrate --out") as error:
        plan.main(["--rows", "9", "--dims", "8", "8"])
    assert error.value.code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--rows and --dims missing"),
        (["--rows", "5"], "--dims missing"),
        (["--calibrate", "--rows", "5"], "--calibrate measures"),
        (["--rows", "5", "--dims", "8", "8", "--model", "ViT-B-32"], "--model belongs to"),
        (["--rows", "5", "--dims", "8", "8", "--compared", "0"], "--compared must lie in"),
    ],
)
def test_wrong_words_are_refused(words, message):
    with pytest.raises(UserError, match=message) as error:
        plan.main(words)
    assert error.value.code == 2


@pytest.mark.parametrize("words", [["--rows", "0"], ["--dims", "8"], ["--max-memory", "much"]])
def test_wrong_values_are_refused(words):
    with pytest.raises(SystemExit) as error:
        plan.main(words)
    assert error.value.code == 2


def test_a_calibration_is_kept_where_it_is_found_again(monkeypatch, tmp_path, capsys):
    from hardpairs.planning import calibrate

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(calibrate, "calibrate", lambda folder, model: MACHINE)
    assert plan.main(["--calibrate"]) == 0
    assert str(tmp_path) in capsys.readouterr().err
    assert plan.main(["--rows", "9", "--dims", "8", "8"]) == 0
