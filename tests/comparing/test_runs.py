"""Runs of the trainer: their flags, their failures, and going on."""

import json
import shutil

import pytest

from hardpairs.cli import compare as compare_losses
from hardpairs.comparing.measure import QueryResults
from hardpairs.core.errors import UserError
from tests.comparing.made import argv, copy_of


def test_a_killed_run_goes_on(pictures, tmp_path):
    """A run that was killed before its first checkpoint left a folder, and comes to what one comes to that was never stopped."""
    for name in ("whole", "cut"):
        assert compare_losses.main(argv(pictures, tmp_path / name, "--losses", "supcon")) == 0
        folder = tmp_path / name / "runs/supcon-lr0.001-seed0"
        if name == "cut":
            (folder / "done").unlink()
            shutil.rmtree(folder / "checkpoints")
            shutil.rmtree(tmp_path / "cut/measured")
            assert compare_losses.main(argv(pictures, tmp_path / "cut", "--losses", "supcon")) == 0
    found = [
        json.loads((tmp_path / name / "comparison.json").read_text())["losses"]
        for name in ("whole", "cut")
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("changed", ["query", "weights"])
def test_other_queries_and_other_start_weights_are_refused(pictures, tmp_path, changed):
    place = copy_of(pictures, tmp_path, flat=())
    assert compare_losses.main(argv(place, tmp_path / "out", "--losses", "supcon")) == 0
    if changed == "query":
        next((place / "data/test/query").glob("*/*.jpg")).unlink()
    else:
        (place / "start/checkpoints/epoch_1.pt").write_bytes(
            (tmp_path / "out/runs/supcon-lr0.001-seed0/checkpoints/best.pt").read_bytes()
        )
    with pytest.raises(UserError, match="a run of another kind") as error:
        compare_losses.main(argv(place, tmp_path / "out", "--losses", "supcon"))
    assert error.value.code == 4


def test_flags_of_one_loss_reach_its_runs_alone(pictures, tmp_path):
    more = ("--losses", "triplet,supcon", "--flags", "triplet:--head-lr 0.5 --projection 8")
    assert compare_losses.main(argv(pictures, tmp_path, *more)) == 0
    said = {
        name: (tmp_path / f"runs/{name}-lr0.001-seed0/params.txt").read_text()
        for name in ("triplet", "supcon")
    }
    assert "head_lr: 0.5" in said["triplet"] and "projection: 8" in said["triplet"]
    assert "head_lr: None" in said["supcon"] and "projection: 0" in said["supcon"]
    assert QueryResults.load(tmp_path / "measured/triplet-lr0.001-seed0.npz").numbers()["mAP"] > 0


def test_a_run_that_fails_is_told_with_its_words(pictures, tmp_path):
    with pytest.raises(UserError) as error:
        compare_losses.main(argv(pictures, tmp_path, "--batch-size", "640"))
    assert error.value.code == 2 and "fewer than one global batch of 640" in error.value.text()
