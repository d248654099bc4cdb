"""A second data set beside the validation data: retrieval or zero-shot, from the start on."""

import csv
import json

import pytest

from hardpairs.training.logs import read_validation, watched
from tests.helpers import picture
from tests.training.test_recovery import COMMA, SAME_PIXELS, start_checkpoint  # noqa: F401
from tests.training.test_trainer import train


@pytest.fixture
def classes(tmp_path):
    """Class folders of three classes with four images each."""
    for number in range(12):
        folder = tmp_path / "old" / f"picture number {number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(picture(number))
    return tmp_path / "old"


def flags(table, start):
    data = ("--train-data", str(table), "--val-data", str(table), *COMMA, *SAME_PIXELS)
    return (*data, "--pretrained", str(start), "--lr", "0.01", "--epochs", "2")


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("processes", [0, 2])
def test_zero_shot_is_what_evaluate_measures(table, classes, start, tmp_path, processes):
    from hardpairs.cli.evaluate import main

    size = ("--batch-size", str(20 // max(1, processes)))
    done = train(
        tmp_path, "run", *flags(table, start), *size, "--watch", str(classes), processes=processes
    )
    assert done.returncode == 0 and " after epoch 2, " in done.stderr, done.stderr
    folder = tmp_path / "run/checkpoints"
    entries = read_validation(folder / "results.jsonl")
    assert [entry["epoch"] for entry in entries] == [0, 1, 2]
    files = {0: start, 2: folder / "epoch_2.pt"}
    for epoch, path in files.items():
        out = tmp_path / f"evaluated{epoch}"
        line = ("--model", "hardpairs-test", "--pretrained", path, "--zero-shot", classes)
        assert main([str(part) for part in (*line, "--out", out, "--device", "cpu")]) == 0
        expected = json.loads((out / "classes.json").read_text())["zero_shot"]
        for name in ("top-1", "mean_class_top-1"):
            assert entries[epoch][f"watch_{name}"] == pytest.approx(expected[name])
    last = rows(tmp_path / "run/epochs.csv")[-1]
    assert float(last["watch"]) == watched(entries[-1]) == entries[-1]["watch_top-1"]


def test_pairs_are_retrieved_by_averaged_weights_too(table, start, tmp_path):
    more = ("--batch-size", "20", "--watch", str(table), "--ema", "0.9")
    done = train(tmp_path, "run", *flags(table, start), *more, "--save-best", "image_to_text_R@1")
    assert done.returncode == 0, done.stderr
    entries = read_validation(tmp_path / "run/checkpoints/results.jsonl")
    for entry in entries[1:]:
        for name in ("image_to_text_R@5", "text_to_image_mean_rank"):
            for prefix in ("", "ema_"):
                assert entry[f"{prefix}watch_{name}"] == pytest.approx(entry[f"{prefix}{name}"])
    assert set(entries[0]) == {"epoch", *(name for name in entries[0] if name.startswith("watch_"))}
    last = rows(tmp_path / "run/epochs.csv")[-1]
    assert float(last["ema_watch"]) == pytest.approx(float(last["ema_r1"]))


def test_it_needs_validation_data(table, start, tmp_path):
    line = [part for part in flags(table, start) if part != "--val-data"]
    line.remove(str(table))
    done = train(tmp_path, "run", *line, "--batch-size", "20", "--watch", str(table))
    assert done.returncode == 2 and "--watch is measured with the validation data" in done.stderr
    done = train(tmp_path, "run", *flags(table, start), "--watch", "nowhere.csv")
    assert done.returncode == 2 and "nowhere.csv" in done.stderr
