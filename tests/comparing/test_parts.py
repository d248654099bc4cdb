"""The parts of the data: split once, by label or by row."""

import shutil

import numpy as np
import pytest

from hardpairs.cli import compare as compare_losses
from hardpairs.comparing import comparison
from hardpairs.comparing.parts import find_parts, split
from hardpairs.comparing.runs import Budget, TrainingRun, command
from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from tests.comparing.made import KEYS, argv, copy_of, labeled_table
from tests.helpers import picture


def test_split_by_label_and_by_row():
    labels = np.repeat(np.arange(20), 5)
    by_label = split(labels, "label")
    assert {name: len(set(labels[part])) for name, part in by_label.items()} == {
        "train": 12,
        "validation": 4,
        "test": 4,
    }
    assert sorted(np.concatenate(list(by_label.values())).tolist()) == list(range(100))
    by_row = split(labels, "row")
    assert all(set(labels[part]) == set(range(20)) for part in by_row.values())
    assert split(np.arange(3), "row")["train"].tolist() == [
        0,
        1,
        2,
    ]  # a label of one row is trained on


def test_captions_of_class_folders(tmp_path):
    """The template reaches the parts, and each run's flags."""
    for part in ("train", "validation", "test"):
        for name in ("0/a.jpg", "0/b.jpg", "1/c.jpg"):
            (tmp_path / part / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / part / name).write_bytes(picture(0))
    options = {"caption_template": "a photo of class number {}"}
    parts = find_parts(str(tmp_path), tmp_path / "out", options, by="label")
    assert parts.open("train").caption(2) == "a photo of class number 1"
    budget = Budget("m", "p", 1, 1, 4, 2, "mAP", 1, "cpu", ())
    run = TrainingRun("clip_ce", 1e-4, 0, tmp_path / "out")
    assert "a photo of class number {}" in command(run, parts, budget)


def test_a_table_is_split_once_and_other_data_is_refused(pictures, tmp_path):
    def table(name, folder):
        return str(labeled_table(pictures, tmp_path / name, folder))

    keys = {"image_key": "image", "caption_key": "text", "group_key": "kind"}
    parts = find_parts(table("a.csv", "train"), tmp_path / "out", keys, by="label")
    found = {name: parts.open(name) for name in ("train", "validation", "test")}
    assert sum(map(len, found.values())) == 48 and parts.query is None
    assert not set(found["train"].groups.tolist()) & set(found["test"].groups.tolist())
    assert len(found["test"].image_bytes(0)) > 100
    assert find_parts(table("a.csv", "train"), tmp_path / "out", keys, by="label") == parts
    with pytest.raises(UserError) as error:
        find_parts(table("b.csv", "validation"), tmp_path / "out", keys, by="label")
    assert error.value.code == 4
    assert open_samples(parts.train, group_key="label").labelled.all()


def test_a_test_that_nobody_can_answer_is_refused_before_training(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "train", lambda *_: pytest.fail("trained"))
    place = copy_of(pictures, tmp_path, flat=("gallery",))
    shutil.rmtree(place / "data/test/query")
    shutil.move(place / "data/test/gallery", place / "flat")
    shutil.rmtree(place / "data/test")
    shutil.move(place / "flat", place / "data/test")
    with pytest.raises(UserError, match="no two test images share a label") as error:
        compare_losses.main(argv(place, tmp_path / "out"))
    assert error.value.code == 3
    with pytest.raises(UserError, match="no test/query") as error:
        compare_losses.main(
            [
                str(labeled_table(pictures, tmp_path / "a.csv")),
                *argv(place, tmp_path / "csv", "--groupname", "us", *KEYS)[1:],
            ]
        )
    assert error.value.code == 2
