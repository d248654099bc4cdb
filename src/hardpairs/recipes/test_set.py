"""Open the test data of a finished study, once, and keep a record that it was opened.

OUT/test.json              when it was opened, of which study, and each run's metrics
OUT/test-queries.npz       ranks by recipe, split and seed, for the intervals
"""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import atomic_open, write_json
from hardpairs.core.errors import mismatch
from hardpairs.recipes.plan import RunName
from hardpairs.recipes.recipe import BASE
from hardpairs.recipes.study import Study, chosen_runs

DIRECTIONS = ("image_to_text", "text_to_image")


def open_test(study: Study) -> dict[str, Any]:
    """Measure the chosen runs on the test data, or return what was measured when it was opened.

    Returns:
        ``opened`` (time, UTC), ``study_sha256``, ``openings``, and ``metrics``: by recipe, split
        and seed.

    Raises:
        UserError: Exit 3 when the study is not finished; exit 4 when the test data was opened for
            another state of the study.
    """
    path, identity = study.out / "test.json", _identity(study)
    if path.is_file():
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if record["study_sha256"] != identity:
            raise mismatch(
                "the test data was opened before, for another choice of runs",
                where=str(path),
                why="a choice that is made after a look at the test data is not an honest one",
                fix="a new --out, whose study says that this data was looked at before",
            )
        return record
    runs = chosen_runs(study)
    metrics: dict[str, list[list[dict[str, float]]]] = {BASE: []}
    arrays: dict[str, Any] = {}
    for split in range(study.plan.splits):
        metrics[BASE].append([_measure(study, split, None, f"{BASE}/{split}/0", arrays)])
    for name, by_split in runs.items():
        metrics[name] = [[_of_run(study, run, arrays) for run in seeds] for seeds in by_split]
    with atomic_open(study.out / "test-queries.npz") as file:
        np.savez_compressed(file, **arrays)
    record = {
        "opened": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "study_sha256": identity,
        "metrics": metrics,
    }
    write_json(path, record)
    return record


def _of_run(study: Study, run: RunName, arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the metrics of a run; one that diverged counts as the base that it started from."""
    path: Path | None = study.folder(run.split) / f"runs/{run.stem}.pt"
    if path is not None and not path.is_file():
        path = None
    return _measure(study, run.split, path, f"{run.recipe}/{run.split}/{run.seed}", arrays)


def _measure(
    study: Study, split: int, path: Path | None, name: str, arrays: dict[str, np.ndarray]
) -> dict[str, float]:
    metrics, queries = study.measure(split, path, study.fold(split).test)
    for direction, side in zip(DIRECTIONS, ("image", "text"), strict=True):
        arrays[f"{name}/{direction}"] = queries[f"{direction}_ranks"]
        arrays[f"rows/{split}/{direction}"] = queries[f"{side}_rows"]
    return metrics


def _identity(study: Study) -> str:
    """Return what tells the study and its choices from others."""
    files = (study.out / "study.json", study.out / "validation.json")
    digest = hashlib.sha256()
    for path in files:
        digest.update(Path(path).read_bytes() if path.is_file() else b"")
    return digest.hexdigest()
