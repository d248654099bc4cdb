"""Write what was measured: our files, a line in CLIPSE's registry, MiniCLIP's JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import append_text, atomic_open, csv_lines, write_json, write_text
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
"""Columns of CLIPSE's run_registry.csv, with the keys of their values in evaluation.json."""


def register(path: Path, record: dict[str, Any]) -> None:
    """Add a line to a run registry; a new file gets a header first."""
    header = [] if path.exists() and path.stat().st_size else [REGISTRY_COLUMNS]
    values = [record.get(source, "") for source in REGISTRY_COLUMNS.values()]
    append_text(path, "".join(csv_lines([*header, values])))


def numbers(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of a record by name, those of nested records under dotted names.

    Args:
        record: Values by name, as in evaluation.json.
        prefix: Put before each name.

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
    """Write evaluation.json, .csv, .md and queries.npz.

    Args:
        out: The run folder.
        record: What evaluation.json holds.
        arrays: What queries.npz holds.
        protocol: Protocol of the tables: ``ours``, ``miniclip`` or ``both``.
    """
    values = [entry for entry in numbers(record) if not entry[0].startswith("preprocess.")]
    lines = "".join(f"{name},{value}\n" for name, value in values)
    write_text(out / "evaluation.csv", f"metric,value\n{lines}")
    lines = "".join(f"| {name} | {value:.4g} |\n" for name, value in values)
    write_text(
        out / "evaluation.md",
        f"{tables(record, protocol)}\nAll numbers; shares are fractions.\n\n"
        f"| metric | value |\n|---|---|\n{lines}",
    )
    with atomic_open(out / "queries.npz") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    write_json(out / "evaluation.json", record)


def file_label(name: str) -> str:
    """Return a name as part of a file name.

    Characters other than letters, digits, dots and dashes become ``_``.

    Example:
        >>> file_label("ViT-B/32, tuned")
        'ViT-B_32_tuned'
    """
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "model"


def write_miniclip(folder: Path, record: dict[str, Any], run: Path) -> Path:
    """Write metrics_NAME.json as MiniCLIP writes it, with R@K in percent.

    NAME is the method, else the model. ``bow`` is the mean over all orders of equal scores, of
    which MiniCLIP's own figure is one; both bounds stand beside it. ``ceiling`` is ours.

    Args:
        folder: Where the file goes.
        record: What evaluation.json holds, with MiniCLIP's protocol.
        run: Folder of the training run; ``training`` is empty where it has no logs.

    Returns:
        The file's path.
    """
    metrics, name = record["miniclip"], record["method"] or record["model"]
    bow = metrics["bag_of_words"]
    path = folder / f"metrics_{file_label(name)}.json"
    write_json(
        path,
        {
            "model_type": name,
            "test_metrics": {key: metrics[key] for key in ("R@1", "R@5", "R@10", "MRR", "MedR")},
            "baselines": {
                "random": metrics["random"],
                "bow": bow.get("expected", {}),
                "bow_bounds": {ties: bow[ties] for ties in bow if ties != "expected"},
                "ceiling": metrics["ceiling"],
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
    log = read_log(run / "metrics.csv")
    validation = read_validation(run / "checkpoints" / "results.jsonl")
    training = {"final_train_loss": float(log["loss"][-1])} if log else {}
    scored = [entry for entry in validation if "text_to_image_R@1" in entry]
    if scored:
        best = max(scored, key=lambda entry: entry["text_to_image_R@1"])
        training |= {
            "best_epoch": int(best["epoch"]),
            "best_val_r1": 100 * best["text_to_image_R@1"],
        }
    return training
