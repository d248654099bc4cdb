"""Times of a run, in CLIPSE's columns."""

import csv
import json

from hardpairs.training.run_summary import RUN_COLUMNS, log_epoch, summarize_run


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_epochs_and_the_run(tmp_path):
    run = tmp_path / "logs/debias"
    (run / "checkpoints").mkdir(parents=True)
    measured = {
        f"{side}_R@{k}": k / 20 for side in ("image_to_text", "text_to_image") for k in (1, 5, 10)
    }
    measured |= {"text_to_image_R@1": 0.15, "clip_val_loss": 2.5, "epoch": 2}
    (run / "checkpoints/results.jsonl").write_text(json.dumps(measured) + "\n")
    log_epoch(run, run / "checkpoints", 1, 10.0)
    log_epoch(run, run / "checkpoints", 2, 20.0)
    first, second = rows(run / "epochs.csv")
    assert (first["epoch"], first["val_r1"], first["epoch_time_sec"]) == ("1", "", "10.00")
    assert float(second["val_r1"]) == 0.1 and float(second["val_r10"]) == 0.5
    assert (second["val_loss"], second["image_to_text_R@1"]) == ("2.5", "0.05")
    values = {"name": "debias", "loss_fn": "sanw_debias", "model": "ViT-B-32", "pretrained": "x"}
    values |= {"train_data": "data/flickr8k", "seed": 13, "batch_size": 32}
    summarize_run(run, values, 4)
    (summary,) = rows(tmp_path / "logs/run_summaries.csv")
    assert tuple(summary) == RUN_COLUMNS
    assert (summary["run_id"], summary["method"], summary["dataset_name"]) == (
        "debias",
        "sanw_debias",
        "flickr8k",
    )
    assert (summary["epochs"], summary["total_time_sec"], summary["avg_epoch_time_sec"]) == (
        "2",
        "30.00",
        "15.00",
    )
    assert float(summary["gpu_hours"]) == round(30 * 4 / 3600, 4)
