"""The step log of a run: ``metrics.csv`` and ``weights.csv`` in its folder."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

from hardpairs.core.atomic import append_text, csv_lines
from hardpairs.training.run_loss import RunLoss

STEP_COLUMNS = (
    *("epoch", "step", "loss", "contrastive_loss", "margin_loss", "geometry_loss", "metric_loss"),
    *(
        "temp",
        "lr",
        "pos_logit",
        "hard_logit",
        "masked_pct",
        "guided_pct",
        "w_mean",
        "w_low_pct",
        "w_high_pct",
    ),
    *("band_coverage_pct", "w_sim_corr", "sanw_beta", "samples_per_second", "data_time"),
    *("memory_rows", "memory_drift", "global_gamma", "global_log_normalizer"),
    *("batch_time", "targets", "mined", "random", "reserves", "unreadable"),
)
"""Columns of metrics.csv; ``temp`` is the exponentiated logit scale."""


def log_statistics(
    loss: RunLoss, folder: Path, epoch: int, step: int, log_data: dict[str, Any]
) -> None:
    """Log a step's statistics, and add a line to the files of the run folder.

    Args:
        loss: The run's loss, after its call of this step.
        folder: The run's folder.
        epoch: Epoch of the step, from 0.
        step: Steps of the run before this one.
        log_data: What OpenCLIP logs of the step; our statistics are added to it.
    """
    numbers, histogram = loss.loss.statistics()
    log_data.update(numbers)
    # As if every rank had counted what this one did.
    counts = {name: count * loss.world_size for name, count in loss.counts.items()}
    scale = log_data["scale" if "scale" in log_data else "logit_scale"]
    row = {**log_data, "epoch": epoch, "step": step, "temp": scale, **counts}
    append_row(folder / "metrics.csv", STEP_COLUMNS, row)
    shown = {name: f"{value:.4g}" for name, value in numbers.items() if not name.endswith("loss")}
    logging.info(" ".join(f"{name}: {value}" for name, value in {**shown, **counts}.items()))
    if histogram is not None:
        bins = {f"{i / len(histogram):.2f}": int(count) for i, count in enumerate(histogram)}
        row = {"epoch": epoch, "step": step, **bins}
        append_row(folder / "weights.csv", tuple(row), row)


def append_row(path: Path, columns: tuple[str, ...], row: dict[str, Any]) -> None:
    """Add a line under the file's own header: a resumed run of another version stays readable.

    Args:
        path: The file.
        columns: The header of a new file.
        row: Values by column; others are left out.
    """
    is_new = not path.exists() or not path.stat().st_size
    if not is_new:
        with open(path, newline="", encoding="utf-8") as file:
            columns = tuple(next(csv.reader(file), columns))
    lines = [columns] if is_new else []
    append_text(path, "".join(csv_lines([*lines, [row.get(name, "") for name in columns]])))
