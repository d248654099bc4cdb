import json

import numpy as np
import pytest
import torch

from hardpairs.cli import compare_recipes, open_test
from hardpairs.core.errors import UserError
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.recipes.study import open_study


def test_validation_chooses_a_setting_of_each_recipe(study_folder):
    out, _ = study_folder
    chosen = json.loads((out / "validation.json").read_text())
    assert list(chosen) == ["plain", "large-batch", "hard-pairs", "masked"]
    assert [len(split["R@1"]) for split in chosen["plain"]] == [2, 2]
    assert chosen["large-batch"][0]["rows"] == 64
    assert {split["setting"] for split in chosen["hard-pairs"]} <= {
        "--batching hard-pairs --hard-topk 10",
        "--batching hard-pairs --hard-topk 50",
    }


def test_equal_samples_are_equal(study_folder):
    out, _ = study_folder
    study = open_study(out)
    plain = study.record(study.chosen(study.recipes[0], 0)[0])
    large = study.record(study.chosen(study.recipes[1], 0)[0])
    assert plain["steps"] == 2 * -(-len(study.fold(0).train) // 16)
    assert large["steps"] == plain["steps"] // 4 and large["rows"] == 4 * plain["rows"]


def test_the_same_command_makes_nothing_again(study_folder, capsys):
    out, words = study_folder
    times = {path: path.stat().st_mtime_ns for path in out.rglob("runs/*")}
    before = (out / "validation.json").read_bytes()
    next(out.glob("split-1/runs/*.json")).unlink()
    compare_recipes.main(words)
    after = {path: path.stat().st_mtime_ns for path in out.rglob("runs/*")}
    assert after.keys() == times.keys()
    assert sum(after[path] != times[path] for path in times) == 2  # one run: record and heads
    same = json.loads((out / "validation.json").read_text())
    for name, splits in json.loads(before).items():
        assert [s["MRR"] for s in same[name]] == [s["MRR"] for s in splits], name


def test_two_processes_give_the_numbers_of_one(study_folder, tmp_path):
    _, words = study_folder
    small = ["--seeds", "1", "--recipes", "hard-pairs", "--recipe", "twice: --sample-factor 2"]
    found = []
    for jobs in ("1", "2"):
        own = [*words[:-2], *small, "--out", str(tmp_path / jobs), "--jobs", jobs]
        compare_recipes.main(own)
        chosen = json.loads((tmp_path / jobs / "validation.json").read_text())
        found.append({name: [split["MRR"] for split in each] for name, each in chosen.items()})
    assert found[0] == found[1] and set(found[0]) == {"plain", "hard-pairs", "twice"}


def test_cross_modal_pairs_are_mined_in_the_space_of_the_base(pairs, tmp_path):
    """Images have 12 numbers and captions 10: only the base's heads put them into one space."""
    words = [str(pairs[0]), "--embeddings", str(pairs[1]), "--out", str(tmp_path / "study")]
    words += ["--splits", "1", "--seeds", "1", "--epochs", "1", "--batch-size", "16"]
    compare_recipes.main([*words, "--lr", "3e-3", "--recipes", "hard-pairs-cross-modal"])
    study = open_study(tmp_path / "study")
    table = HardPairTable.open(study.mined(0, "cross-modal"))
    train, features = study.fold(0).train, study.features
    with torch.no_grad():
        image, text, _ = study.base(0)(features.image[train], features.text[train])
    similarities = image @ text.T
    scores = torch.maximum(similarities, similarities.T).fill_diagonal_(-1).numpy()
    assert table.manifest["options"]["mining_method"] == "cross-modal"
    listed = np.asarray(table.indices)[train]
    for position, row in enumerate(train):
        hard = np.searchsorted(train, listed[position][listed[position] >= 0])
        stored = np.asarray(table.scores)[row, : len(hard)]
        np.testing.assert_allclose(scores[position, hard], stored, rtol=1e-4)


def test_another_plan_needs_another_folder(study_folder):
    _, words = study_folder
    with pytest.raises(UserError, match="epochs") as error:
        compare_recipes.main([*words, "--epochs", "3"])
    assert error.value.code == 4


def test_an_unfinished_study_has_no_test(pairs, tmp_path, study_folder):
    out, _ = study_folder
    (tmp_path / "study.json").write_bytes((out / "study.json").read_bytes())
    with pytest.raises(UserError, match="not finished"):
        open_test.main([str(tmp_path)])
