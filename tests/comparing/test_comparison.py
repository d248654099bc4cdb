"""The comparison: the whole, submissions, and losses that diverge."""

import json

import numpy as np
import pytest

from hardpairs.cli import compare as compare_losses
from hardpairs.comparing import comparison, runs
from hardpairs.comparing.comparison import Candidates, train_all
from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from hardpairs.embedding.embed import embed
from hardpairs.models.encoders import open_encoders
from tests.comparing.made import argv, copy_of, parts_of


def test_the_whole_and_going_on(pictures, tmp_path, capsys, monkeypatch):
    assert compare_losses.main(argv(pictures, tmp_path)) == 0
    table = capsys.readouterr().out
    record = json.loads((tmp_path / "comparison.json").read_text())
    assert {row["loss"] for row in record["losses"]} == {"start", "supcon", "clip_ce"} and record[
        "queries"
    ] == 4
    assert record["losses"][0]["mAP"]["mean"] == max(row["mAP"]["mean"] for row in record["losses"])
    assert (
        all(row["p"] is None or 0 < row["p"] <= 1 for row in record["losses"])
        and "| supcon | 1 | 0.001 |" in table
        and "on the validation data" in table
    )
    page = (tmp_path / "comparison.html").read_text()
    assert (
        "Losses compared" in page and "http" not in page.split("</style>")[1].split("<footer>")[0]
    )
    monkeypatch.setattr(comparison, "train", lambda *_: pytest.fail("a finished run is made again"))
    assert compare_losses.main(argv(pictures, tmp_path)) == 0
    assert capsys.readouterr().out == table
    with pytest.raises(UserError) as error:
        compare_losses.main(argv(pictures, tmp_path, "--choose-by", "ari"))
    assert error.value.code == 4 and "metric differs" in error.value.text()


def mean_ap_bounds(folder, run, error=1e-5):
    """Least and largest mAP of a run's best checkpoint on validation rows, each asking the others.

    Similarities of rows with the query's label are lowered, or raised, by what rounding may do.
    """
    samples = open_samples(folder / "data/validation", group_key="folder")
    weights = str(run / "checkpoints/best.pt")
    encoders = open_encoders(model="hardpairs-test", pretrained=weights)
    made = embed(samples, encoders, workers=0)
    labels, rows = samples.groups[made.rows], np.arange(len(made.rows))
    similar = made.image.astype(np.float64) @ made.image.T.astype(np.float64)
    bounds = []
    for shift in (-error, error):
        values = []
        for row in rows:
            others = rows[rows != row]
            correct = labels[others] == labels[row]
            scores = similar[row, others] + shift * correct
            order = np.lexsort((correct, -scores))
            precision = correct[order].cumsum() / np.arange(1, len(order) + 1)
            values.append(precision[correct[order]].mean())
        bounds.append(np.mean(values))
    return bounds


def test_without_test_labels_validation_data_and_submissions(pictures, tmp_path, capsys):
    place = copy_of(pictures, tmp_path)
    assert compare_losses.main(argv(place, tmp_path / "out", "--groupname", "us")) == 0
    told = capsys.readouterr()
    record = json.loads((tmp_path / "out/comparison.json").read_text())
    best = max(record["losses"], key=lambda row: row["validation"] or 0)
    assert record["measured_on"] == "validation" and record["chosen"] == best["loss"] != "start"
    assert record["queries"] > 0 and all(0 < row["mAP"]["mean"] <= 1 for row in record["losses"])
    # each validation row asks the others, as in training: the epoch's own number, but for the order
    # of rows whose similarities differ by no more than rounding
    for row in record["losses"]:
        if row["loss"] != "start":
            low, high = mean_ap_bounds(place, tmp_path / f"out/runs/{row['loss']}-lr0.001-seed0")
            assert low <= row["validation"] <= high and low <= row["mAP"]["mean"] <= high
    assert (
        "which rates and epochs were chosen by" in told.out
        and not (tmp_path / "out/comparison.html").exists()
    )
    assert sorted(path.stem for path in (tmp_path / "out/submissions").iterdir()) == [
        "clip_ce-lr0.001-seed0",
        "start",
        "supcon-lr0.001-seed0",
    ]
    body = json.loads((tmp_path / "out/submissions/start.json").read_text())
    query, gallery = (
        {path.name for path in (tmp_path / f"data/test/{side}").iterdir()}
        for side in ("query", "gallery")
    )
    assert body["groupname"] == "us" and set(body["images"]) == query
    assert all(
        set(names) <= gallery and len(set(names)) == len(names) == min(10, len(gallery))
        for names in body["images"].values()
    )


def test_a_rate_that_diverges_is_out(pictures, tmp_path, capsys):
    assert (
        compare_losses.main(argv(pictures, tmp_path, "--losses", "clip_ce", "--lr", "1e30", "1e-3"))
        == 0
    )
    assert "clip_ce-lr1e+30-seed0: not finite, left out" in capsys.readouterr().err
    assert json.loads((tmp_path / "comparison.json").read_text())["losses"][0]["rate"] in (
        None,
        1e-3,
    )


def test_a_loss_that_diverges_is_named_and_the_others_have_their_table(
    pictures, tmp_path, capsys, monkeypatch
):
    more = ("--losses", "clip_ce,supcon", "--flags", "clip_ce:--lr 1e30")
    for _ in range(2):  # started again, nothing is trained: not the one that failed, either
        assert compare_losses.main(argv(pictures, tmp_path, *more)) == 0
        assert (
            "clip_ce is not in the table: the run clip_ce-lr0.001-seed0 failed"
            in capsys.readouterr().out
        )
        record = json.loads((tmp_path / "comparison.json").read_text())
        assert {row["loss"] for row in record["losses"]} == {"start", "supcon"} and list(
            record["failed"]
        ) == ["clip_ce"]
        assert "clip_ce is not in the table" in (tmp_path / "comparison.html").read_text()
        monkeypatch.setattr(runs, "launch", lambda *_, **__: pytest.fail("trained again"))
    with pytest.raises(UserError) as error:
        compare_losses.main(argv(pictures, tmp_path, *more, "--losses", "clip_ce"))
    assert error.value.code == 6


def test_a_loss_with_a_seed_that_diverges_is_out(pictures, tmp_path, monkeypatch):
    def train(plan, *_):
        if (plan.loss, plan.seed) == ("clip_ce", 1):
            raise UserError(6, "the run failed")

    monkeypatch.setattr(comparison, "train", train)
    monkeypatch.setattr(runs.TrainingRun, "curve", lambda run, metric: [(1, 0.5)])
    budget = runs.Budget("m", "none", 4, 2, 16, 2, "mAP", 1, "cpu", ())
    candidates = Candidates(("supcon", "clip_ce"), (1e-3,), 2)
    plans, failed = train_all(candidates, parts_of(pictures), budget, tmp_path)
    assert (
        [plan.seed for plan in plans["supcon"]] == [0, 1]
        and failed == {"clip_ce": "the run failed"}
        and list(plans) == ["supcon"]
    )
