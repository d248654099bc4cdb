"""The command line of hardpairs format-news."""

from __future__ import annotations

import csv
import json

import pytest

from hardpairs.cli.format_news import main
from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from tests.linking.test_label_studio import task, written


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_files_are_clippings_files(tmp_path, capsys):
    tasks = [task(f"{i}a.png", f"{i}b.png", "Same") for i in range(20)] + [
        task(f"s{i}.png", f"t{i}.png", "Different") for i in range(5)
    ]
    assert (
        main(
            [str(written(tmp_path, tasks)), "--image-root", "scans", "--out", str(tmp_path / "out")]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["rows"] == 50
    parts = {
        name: rows(tmp_path / f"out/labelled_news_{name}_reformatted.csv")
        for name in ("train", "val")
    }
    labels = {name: {row["label"] for row in part} for name, part in parts.items()}
    assert (
        not labels["train"] & labels["val"]
        and len(labels["train"]) == 24
        and len(labels["val"]) == 6
    )
    assert sum(map(len, parts.values())) == 50 and parts["train"][0]["image_path"].startswith(
        "scans/"
    )
    paired = rows(tmp_path / "out/labelled_news_train_reformatted_no_singletons.csv")
    assert paired == [row for row in parts["train"] if row["image_path"][6:-5].isdigit()]
    samples = open_samples(
        tmp_path / "out/labelled_news_val_reformatted.csv",
        image_key="image_path",
        caption_key="text",
        group_key="label",
    )
    assert samples.labelled.all()


def test_wrong_command_lines(tmp_path):
    for argv in (["nowhere.json"], [str(written(tmp_path, [])), "--unlabelled"]):
        with pytest.raises(UserError) as error:
            main([*argv, "--out", str(tmp_path / "out")])
        assert error.value.code == 2
