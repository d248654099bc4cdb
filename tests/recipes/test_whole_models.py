"""``compare recipes --full``: the trainer itself trains the whole model of each run."""

from __future__ import annotations

import json

import pytest

from hardpairs.cli import compare_recipes, embed, open_test
from hardpairs.core.atomic import write_json
from hardpairs.core.errors import UserError
from hardpairs.models.create import create_model_and_transforms
from hardpairs.models.model_folder import CONFIG, WEIGHTS
from hardpairs.models.weight_files import save_safetensors
from hardpairs.recipes import whole_models
from hardpairs.recipes.study import open_study
from hardpairs.recipes.training import measure_queries
from hardpairs.training import trainer_process
from tests.processes import forking


@pytest.fixture
def forked_runs():
    """Runs are forks of a process that has PyTorch imported."""
    with forking(trainer_process):
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
    start, _ = whole_models.measure_model(study, checkpoint, fold.test, study.whole)
    assert test["base"][0][0]["mean_R@1"] == pytest.approx(start["mean_R@1"])


def test_a_run_that_fails_names_its_log(table, embeddings, checkpoint, tmp_path, forked_runs):
    words = [*words_of(table, embeddings, checkpoint, tmp_path / "full"), "--no-such-flag"]
    with pytest.raises(UserError, match="failed") as error:
        compare_recipes.main(words)
    assert error.value.code == 2 and ".log" in str(error.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--full", "go together"),
        ("--model RN50", "go together"),
        ("--pretrained start.pt", "belong to --full"),
        ("-- --workers 0", "belong to --full"),
        ("--full --model RN50", "needs its weights"),
    ],
)
def test_flags_of_the_whole_model_go_together(table, embeddings, tmp_path, words, message):
    study = [str(table), "--embeddings", str(embeddings), "--out", str(tmp_path / "o")]
    with pytest.raises(UserError, match=message) as error:
        compare_recipes.main([*study, "--batch-size", "4", *words.split()])
    assert error.value.code == 2


def write_towers(folder):
    """Write a model of small towers and random projections, as a folder."""
    config = {
        "embed_dim": 16,
        "vision_cfg": {"layers": 1, "width": 64, "patch_size": 16, "image_size": 32},
        "text_cfg": {"context_length": 8, "width": 24, "heads": 2, "layers": 1},
    }
    folder.mkdir()
    write_json(folder / CONFIG, {"model_cfg": config, "preprocess_cfg": {"size": 32}})
    save_safetensors(
        create_model_and_transforms(f"local-dir:{folder}")[0].state_dict(), folder / WEIGHTS
    )


def test_towers_start_with_the_heads_of_their_base(table, tmp_path, forked_runs):
    model, features, out = (
        f"local-dir:{tmp_path / 'towers'}",
        tmp_path / "features",
        tmp_path / "full",
    )
    write_towers(tmp_path / "towers")
    embed.main(
        [
            "--csv",
            str(table),
            "--model",
            model,
            "--without-projection",
            "--out",
            str(features),
            "--workers",
            "0",
        ]
    )
    words = [
        str(table),
        "--embeddings",
        str(features),
        "--out",
        str(out),
        "--full",
        "--model",
        model,
    ]
    words += ["--splits", "1", "--seeds", "1", "--epochs", "1", "--batch-size", "6", "--lr", "1e-9"]
    words += ["--width", "16", "--recipes", "plain", "--", "--workers", "0"]
    compare_recipes.main(words)
    study = open_study(out)
    fold = study.fold(0)
    by_heads, _ = measure_queries(study.base(0), study.features, fold.val)
    start, _ = study.measure(0, None, fold.val)
    assert start == pytest.approx(by_heads)
    trained = study.record(study.chosen(study.recipes[0], 0)[0])["metrics"]
    assert trained == pytest.approx(start)  # at such a rate
