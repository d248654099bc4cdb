"""``compare recipes --full``: the trainer itself trains the whole model of each run."""

from __future__ import annotations

import json

import pytest

from hardpairs.cli import compare_recipes, open_test
from hardpairs.core.errors import UserError
from hardpairs.recipes import whole_models
from hardpairs.recipes.study import open_study
from hardpairs.training import launching
from tests.processes import forking


@pytest.fixture
def forked_runs():
    """Runs are forks of a process that has PyTorch imported."""
    with forking(launching):
        yield


def words_of(table, embeddings, checkpoint, out):
    words = [table, "--embeddings", embeddings, "--out", out, "--full", "--model", "hardpairs-test"]
    words += ["--pretrained", checkpoint, "--splits", "1", "--seeds", "1", "--epochs", "1"]
    words += ["--batch-size", "6", "--lr", "1e-3", "--recipes", "plain,hard-pairs"]
    return [*map(str, words), "--", "--workers", "0"]


def test_the_trainer_trains_on_the_training_rows_alone(
    table, embeddings, checkpoint, tmp_path, forked_runs, capsys
):
    out = tmp_path / "full"
    words = words_of(table, embeddings, checkpoint, out)
    compare_recipes.main(words)
    assert "| plain |" in capsys.readouterr().out
    study = open_study(out)
    fold = study.fold(0)
    rejected = (out / "split-0/not-training.txt").read_text().split()
    assert sorted(map(int, rejected)) == sorted([*fold.val, *fold.test])
    log = next((out / "split-0/runs").glob("hard-pairs-0-*.log")).read_text()
    assert "hard_dict_dir: " in log and "not-training.txt" in log
    record = study.record(study.chosen(study.recipes[0], 0)[0])
    assert record["steps"] == -(-len(fold.train) // 6)
    ours, _ = whole_models.measure_model(
        study, out / "split-0/runs/plain-0-lr0.001-seed0.pt", fold.val, study.whole
    )
    assert record["metrics"]["mean_R@1"] == pytest.approx(ours["mean_R@1"])
    times = {path: path.stat().st_mtime_ns for path in out.glob("split-0/runs/*")}
    compare_recipes.main(words)
    assert times == {path: path.stat().st_mtime_ns for path in out.glob("split-0/runs/*")}

    open_test.main([str(out)])
    test = json.loads((out / "test.json").read_text())["metrics"]
    start, _ = whole_models.measure_model(study, None, fold.test, study.whole)
    assert test["base"][0][0]["mean_R@1"] == pytest.approx(start["mean_R@1"])


def test_a_run_that_fails_names_its_log(table, embeddings, checkpoint, tmp_path, forked_runs):
    words = [*words_of(table, embeddings, checkpoint, tmp_path / "full"), "--no-such-flag"]
    with pytest.raises(UserError, match="failed") as error:
        compare_recipes.main(words)
    assert error.value.code == 2 and ".log" in str(error.value)


def test_flags_of_the_whole_model_go_together(table, embeddings, tmp_path):
    words = [str(table), "--embeddings", str(embeddings), "--out", str(tmp_path / "o")]
    words += ["--batch-size", "4"]
    for more in (["--full"], ["--model", "RN50"], ["--", "--workers", "0"]):
        with pytest.raises(UserError, match="go together"):
            compare_recipes.main([*words, *more])
