"""Times of a run: ``epochs.csv`` in its folder, and its line in ``run_summaries.csv`` beside it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardpairs.training.average import AVERAGE
from hardpairs.training.logs import mean_recall, read_validation, watched
from hardpairs.training.step_log import append_row

EPOCH_COLUMNS = (
    *("epoch", "val_r1", "val_r5", "val_r10", "val_loss", "epoch_time_sec"),
    *("image_to_text_R@1", "text_to_image_R@1", "ema_r1", "watch", "ema_watch"),
)
"""CLIPSE's columns of an epoch, then ours; ``r1`` is the mean of both directions."""
RUN_COLUMNS = (
    *("run_id", "method", "model_name", "pretrained_tag", "dataset_name", "seed", "epochs"),
    *("batch_size", "num_gpus", "total_time_sec", "avg_epoch_time_sec", "gpu_hours"),
)
"""CLIPSE's columns of a run."""


def log_epoch(folder: Path, checkpoints: Path | None, epoch: int, seconds: float) -> None:
    """Add an epoch to ``epochs.csv``, with what its validation measured.

    Args:
        folder: The run's folder.
        checkpoints: Folder of OpenCLIP's results.jsonl.
        epoch: Epochs completed.
        seconds: Time of the epoch, with its validation.
    """
    results = read_validation(checkpoints / "results.jsonl") if checkpoints else []
    numbers = next((entry for entry in results[::-1] if entry["epoch"] == epoch), {})
    row: dict[str, Any] = {**numbers, "val_loss": numbers.get("clip_val_loss", "")}
    for k in (1, 5, 10):
        row[f"val_r{k}"] = mean_recall(numbers, k=k)
    row["ema_r1"] = mean_recall(numbers, f"{AVERAGE}_")
    for start in ("", f"{AVERAGE}_"):
        row[f"{start}watch"] = watched(numbers, start)
    row |= {"epoch": epoch, "epoch_time_sec": f"{seconds:.2f}"}
    append_row(folder / "epochs.csv", EPOCH_COLUMNS, row)


def summarize_run(folder: Path, values: Mapping[str, Any], num_gpus: int) -> None:
    """Add a finished run to ``run_summaries.csv`` beside its folder.

    Args:
        folder: The run's folder.
        values: The run's options.
        num_gpus: GPUs of all processes together.
    """
    with open(folder / "epochs.csv", newline="", encoding="utf-8") as file:
        times = [float(row["epoch_time_sec"]) for row in csv.DictReader(file)]
    row = {
        "run_id": values["name"],
        "method": values["loss_fn"],
        "model_name": values["model"],
        "pretrained_tag": values["pretrained"],
        "dataset_name": Path(str(values["train_data"])).stem,
        "seed": values["seed"],
        "epochs": len(times),
        "batch_size": values["batch_size"],
        "num_gpus": num_gpus,
        "total_time_sec": f"{sum(times):.2f}",
        "avg_epoch_time_sec": f"{sum(times) / len(times):.2f}",
        "gpu_hours": f"{sum(times) * num_gpus / 3600:.4f}",
    }
    append_row(folder.parent / "run_summaries.csv", RUN_COLUMNS, row)
