"""What an evaluation leaves behind: our files, a line in CLIPSE's registry, MiniCLIP's JSON."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import atomic_open, write_json, write_text
from hardpairs.evaluating.tables import tables
from hardpairs.training.logs import read_log, read_validation

REGISTRY_COLUMNS = {
    "method": "method",
    "seed": "seed",
    "epoch": "epoch",
    "model": "model",
    "pretrained": "pretrained",
    "R1_I2T": "image_to_text_R@1",
    "R5_I2T": "image_to_text_R@5",
    "R10_I2T": "image_to_text_R@10",
    "R1_T2I": "text_to_image_R@1",
    "R5_T2I": "text_to_image_R@5",
    "R10_T2I": "text_to_image_R@10",
    "MR_I2T": "image_to_text_median_rank",
    "MR_T2I": "text_to_image_median_rank",
    "mAP10_I2T": "image_to_text_mAP@10",
    "mAP10_T2I": "text_to_image_mAP@10",
}
"""Columns of CLIPSE's run_registry.csv and where their values are in evaluation.json."""


def register(path: Path, record: dict[str, Any]) -> None:
    """Adds one line to a run registry; the header is written once and must be ours."""
    is_new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(REGISTRY_COLUMNS)
        writer.writerow([record.get(source, "") for source in REGISTRY_COLUMNS.values()])


def numbers(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a record, those of inner ones under dotted names.

    Example:
        >>> list(numbers({"R@1": 0.5, "data": "test.csv", "baselines": {"random": {"R@1": 0.25}}}))
        [('R@1', 0.5), ('baselines.random.R@1', 0.25)]
    """
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{name}.")
        elif isinstance(value, float | int) and not isinstance(value, bool):
            yield prefix + name, value


def write_results(
    out: Path, record: dict[str, Any], arrays: dict[str, np.ndarray], *, protocol: str = "ours"
) -> None:
    """evaluation.json, .csv, .md and queries.npz."""
    found = {name: value for name, value in numbers(record) if not name.startswith("preprocess.")}
    write_text(
        out / "evaluation.csv",
        "metric,value\n" + "".join(f"{name},{value}\n" for name, value in found.items()),
    )
    lines = "".join(f"| {name} | {value:.4g} |\n" for name, value in found.items())
    write_text(
        out / "evaluation.md",
        f"{tables(record, protocol)}\nAll numbers; shares are fractions.\n\n| metric | value |\n|---|---|\n{lines}",
    )
    with atomic_open(out / "queries.npz") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    write_json(out / "evaluation.json", record)


def file_label(name: str) -> str:
    """A name that a file may have: what is no letter, digit, dot or dash becomes ``_``.

    Example:
        >>> file_label("ViT-B/32, tuned")
        'ViT-B_32_tuned'
    """
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "model"


def write_miniclip(folder: Path, record: dict[str, Any], run: Path) -> Path:
    """``metrics_NAME.json`` as MiniCLIP writes it (R@K in percent), NAME being the method, else the model; returns its path.

    ``bow`` is the mean over all orders of equal scores, of which the seed's figure is one, with both bounds beside it; ``ceiling`` is
    ours. ``training`` says what the logs of the training run in ``run`` do, and is empty where that is none.
    """
    found, name = record["miniclip"], record["method"] or record["model"]
    bow = found["bag_of_words"]
    path = folder / f"metrics_{file_label(name)}.json"
    write_json(
        path,
        {
            "model_type": name,
            "test_metrics": {key: found[key] for key in ("R@1", "R@5", "R@10", "MRR", "MedR")},
            "baselines": {
                "random": found["random"],
                "bow": bow.get("expected", {}),
                "bow_bounds": {ties: bow[ties] for ties in bow if ties != "expected"},
                "ceiling": found["ceiling"],
            },
            "training": _training(run),
            "config": {
                key: record[key]
                for key in ("model", "pretrained", "seed", "data", "dataset_fingerprint")
            },
        },
    )
    return path


def _training(run: Path) -> dict[str, float]:
    log, validation = (
        read_log(run / "metrics.csv"),
        read_validation(run / "checkpoints" / "results.jsonl"),
    )
    found = {"final_train_loss": float(log["loss"][-1])} if log else {}
    scored = [entry for entry in validation if "text_to_image_R@1" in entry]
    if scored:
        best = max(scored, key=lambda entry: entry["text_to_image_R@1"])
        found |= {"best_epoch": int(best["epoch"]), "best_val_r1": 100 * best["text_to_image_R@1"]}
    return found
