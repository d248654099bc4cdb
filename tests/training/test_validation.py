"""Metrics by groups and labels, the best epoch, and when a run ends."""

import csv
import json

import numpy as np
import pytest

from hardpairs.data.opening import open_samples
from hardpairs.training.validation import BestEpoch, best_epoch, keep_best
from tests.helpers import picture
from tests.training.test_trainer import checkpoint, train


def write(folder, *lines):
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_best_epoch_is_read_from_what_was_written(tmp_path):
    results = tmp_path / "results.jsonl"
    assert best_epoch(results, "ari") is None
    values = [0.1, 0.5, 0.5, 0.4]
    write(
        tmp_path,
        {"epoch": 9, "clip_val_loss": 1},
        *({"epoch": i + 1, "ari": value} for i, value in enumerate(values)),
    )
    assert best_epoch(results, "ari") == BestEpoch(2, 0.5, 2)  # the first of equal ones
    assert best_epoch(results, "ari", completed=1) == BestEpoch(1, 0.1, 0)
    assert best_epoch(results, "clip_val_loss") == BestEpoch(9, 1, 0)
    write(
        tmp_path,
        {"epoch": 1, "clip_val_loss": 3},
        {"epoch": 2, "clip_val_loss": 1},
        {"epoch": 2, "clip_val_loss": 5},
    )
    # Of a repeated epoch the last line counts; lower is better.
    assert best_epoch(results, "clip_val_loss") == BestEpoch(1, 3, 1)


def test_lines_that_say_nothing_do_not_count(tmp_path):
    (tmp_path / "results.jsonl").write_text(
        '{"epoch": 1, "ari": NaN}\n{"epoch": 2, "ari": 0.25}\n{"epoch": 3, "ari"'
    )
    assert best_epoch(tmp_path / "results.jsonl", "ari") == BestEpoch(2, 0.25, 0)


def test_the_best_is_kept(tmp_path):
    import torch

    for epoch, value in enumerate((0.2, 0.6, 0.4), start=1):
        with open(tmp_path / "results.jsonl", "a") as file:
            file.write(json.dumps({"epoch": epoch, "ari": value}) + "\n")
        keep_best(tmp_path, "ari", {"epoch": epoch, "state_dict": {}})
    kept = torch.load(tmp_path / "best.pt", weights_only=True)
    assert kept["epoch"] == 2 and kept["best"] == {"metric": "ari", "value": 0.6}


@pytest.fixture
def labelled(tmp_path):
    """A CSV of 24 pictures of six classes."""
    (tmp_path / "images").mkdir()
    with open(tmp_path / "labelled.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "title", "label"])
        for i in range(24):
            (tmp_path / f"images/{i}.jpg").write_bytes(picture(i))
            writer.writerow([tmp_path / f"images/{i}.jpg", f"picture {i}", f"class {i // 4}"])
    return tmp_path / "labelled.csv"


@pytest.mark.parametrize("processes", [0, 2])
def test_a_run_ends_when_it_gets_no_better(labelled, tmp_path, processes):
    """With a rate of next to nothing the first epoch is the best, and the run ends after two more."""
    data = (
        "--train-data",
        str(labelled),
        "--val-data",
        str(labelled),
        "--csv-separator",
        ",",
        "--csv-label-key",
        "label",
        "--freeze-bn-stats",
    )
    loss = (
        "--loss-fn",
        "supcon",
        "--m-per-class",
        "2",
        "--batch-size",
        str(8 // max(processes, 1)),
        "--lr",
        "1e-30",
        "--epochs",
        "9",
    )
    done = train(
        tmp_path,
        "run",
        *data,
        *loss,
        "--save-best",
        "mAP",
        "--patience",
        "2",
        "--augment",
        "none",
        processes=processes,
    )
    assert done.returncode == 0, done.stderr
    lines = [
        json.loads(line)
        for line in (tmp_path / "run/checkpoints/results.jsonl").read_text().splitlines()
    ]
    assert [line["epoch"] for line in lines] == [1, 2, 3] and {
        "ari",
        "mAP",
        "top-1",
        "mean_R@1",
    } <= lines[0].keys()
    assert "2 epochs; the run ends" in done.stderr
    best = checkpoint(tmp_path, "run", 1)
    assert (
        best["preprocess"]["size"] in (32, (32, 32)) and best["embedding_head"]["kind"] == "image"
    )
    assert (tmp_path / "run/checkpoints/best.pt").is_file()


def test_unreadable_validation_pictures_are_named_and_left_out(labelled, tmp_path):
    """The numbers are those of the table without their rows; with nothing to read the run says so."""
    lines = labelled.read_text().splitlines()
    bad = tmp_path / "bad.csv"
    (tmp_path / "images/cut.jpg").write_bytes(picture(3)[:-30])
    broken = [
        f"{tmp_path}/images/cut.jpg,picture,class 2",
        f"{tmp_path}/images/none.jpg,picture,class 3",
    ]
    bad.write_text("\n".join([*lines[:9], *broken, *lines[9:]]) + "\n")
    flags = (
        "--train-data",
        str(labelled),
        "--csv-separator",
        ",",
        "--csv-label-key",
        "label",
        "--batching",
        "random",
        "--workers",
        "1",
    )
    numbers = []
    for name, val in (("whole", labelled), ("broken", bad)):
        done = train(
            tmp_path,
            name,
            *flags,
            "--val-data",
            str(val),
            "--batch-size",
            "8",
            "--epochs",
            "2",
            "--save-best",
            "mAP",
        )
        assert done.returncode == 0, done.stderr
        numbers.append(
            json.loads((tmp_path / name / "checkpoints/results.jsonl").read_text().splitlines()[-1])
        )
    assert (
        done.stderr.count("cut.jpg (truncated_image)")
        == done.stderr.count("none.jpg (missing_file)")
        == 1
    )  # in two epochs
    same = [
        name for name in numbers[0] if name not in ("clip_val_loss", "elapsed")
    ]  # other batches: another loss, near ties in another order
    assert {"mAP", "ari", "image_to_text_R@1", "num_samples"} <= set(same)
    assert {name: numbers[0][name] for name in same} == pytest.approx(
        {name: numbers[1][name] for name in same}, abs=1e-3
    )
    bad.write_text("\n".join([lines[0], *broken]) + "\n")
    done = train(
        tmp_path, "nothing", *flags, "--val-data", str(bad), "--batch-size", "8", "--epochs", "1"
    )
    assert (
        done.returncode == 3
        and "no validation image is readable" in done.stderr
        and "Traceback" not in done.stderr
    )


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--patience", "2"), 2, "--save-best"),
        (("--save-best", "ari"), 2, "needs validation data"),
        (
            ("--save-best", "ari", "--val-data", "{table}"),
            3,
            "no two validation images share a label",
        ),
        (("--save-best", "mean_R@1", "--val-data", "{table}", "--patience", "0"), 2, "at least 1"),
    ],
)
def test_what_cannot_be_chosen_by_is_refused(table, more, code, says):
    from hardpairs.core.errors import UserError
    from hardpairs.training.upstream import patched

    flags = [word.format(table=table) for word in more]
    with pytest.raises(UserError) as error:
        patched("params").parse_args(
            [
                "--model",
                "hardpairs-test",
                "--train-data",
                str(table),
                "--csv-separator",
                ",",
                "--batch-size",
                "8",
                *flags,
            ]
        )
    assert error.value.code == code and says in error.value.text()


def test_groups_count_as_right(tmp_path, table):
    """Rows of one group are each other's answers, which OpenCLIP's own metric does not know."""
    import torch

    from hardpairs.training.validation import val_numbers

    samples = open_samples(table)
    samples.groups = np.arange(40) // 2
    image = torch.nn.functional.normalize(torch.randn(40, 8, generator=torch.manual_seed(0)), dim=1)
    text = image[np.arange(40) ^ 1]  # each picture's text is its neighbour's
    assert (
        val_numbers(torch.nn.Linear(1, 1), samples, list(range(40)), image, text)["mean_R@1"] == 1
    )


def test_what_counts_as_right_is_logged(labelled, caplog):
    import logging

    from hardpairs.training.validation import log_groups

    samples = open_samples(labelled, group_key="label")
    samples.texts = np.arange(24) % 12  # each caption twice, in two classes
    with caplog.at_level(logging.INFO):
        log_groups(samples, range(24))
    assert caplog.messages == [
        "Validation: 24 images and 24 captions in 6 groups; 24 captions are in several groups and "
        "right for each."
    ]


def test_an_epoch_that_was_saved_and_not_measured_is_measured_by_the_next_start(labelled, tmp_path):
    """A kill during the evaluation leaves such a run; best.pt follows from what is measured then."""
    flags = ("--train-data", str(labelled), "--val-data", str(labelled), "--csv-separator", ",")
    flags = (*flags, "--csv-label-key", "label", "--batching", "random", "--batch-size", "8")
    flags = (*flags, "--save-best", "mAP", "--epochs", "1")
    assert train(tmp_path, "run", *flags).returncode == 0
    folder = tmp_path / "run/checkpoints"
    (before,) = (json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines())
    (folder / "results.jsonl").unlink()
    (folder / "best.pt").unlink()
    done = train(tmp_path, "run", *flags, "--resume", "latest")
    assert done.returncode == 0, done.stderr
    (after,) = (json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines())
    assert after == before and before["epoch"] == 1
    best = checkpoint(tmp_path, "run", 1)
    assert best["epoch"] == 1 and (folder / "best.pt").is_file()
