"""Reads what runs left behind: their evaluation, and where they were trained, options and logs."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.errors import bad_input, mismatch, non_finite, usage
from hardpairs.training.logs import read_log, read_params, read_validation, read_weights

DIRECTIONS = {"image_to_text": "image → text", "text_to_image": "text → image"}
"""Prefixes of metric names, and how a reader is told of them."""

LABELS = {
    "base": "base model",
    "plain": "plain continuation",
    "hard": "hard-pair batches",
    "hard_sanw": "hard-pair batches + SANW",
}
"""Readable names of the quickstart's methods; any other name stands for itself."""

RESERVED = ("spread", "seconds", "mined", "versions", "tests")
"""Names that the summary uses for other things, so that no method may have them."""


def direction_of(key: str) -> str:
    """The direction that a metric's name starts with."""
    return next(direction for direction in DIRECTIONS if key.startswith(direction))


@dataclass(frozen=True, eq=False)
class Run:
    """One evaluated model.

    Attributes:
        folder: where all of it was read from.
        method, seed: what ``tools.evaluate`` was told; without ``--method`` the folder's name.
        metrics: numbers by name (``image_to_text_R@1``...); shares are fractions.
        record: the whole evaluation.json.
        queries: arrays of queries.npz, by query.
        params: the training options; empty for a model that was only evaluated.
        log: columns of the step log, by logged step; empty without one.
        validation: results of OpenCLIP's own evaluation, one per epoch.
        weights: by epoch, the share of negatives in equal bins of SANW's weight; empty without SANW.
    """

    folder: Path
    method: str
    seed: int
    metrics: dict[str, float]
    record: dict[str, Any]
    queries: dict[str, np.ndarray]
    params: dict[str, Any]
    log: dict[str, np.ndarray]
    validation: list[dict[str, float]]
    weights: dict[int, np.ndarray]


@dataclass(frozen=True, eq=False)
class Method:
    """Runs that differ in their seed alone, as far as their name says."""

    name: str
    runs: tuple[Run, ...]

    @property
    def label(self) -> str:
        return LABELS.get(self.name, self.name)

    @property
    def first(self) -> Run:
        return self.runs[0]


def read_run(folder: Path) -> Run:
    """Reads one run folder.

    Raises:
        UserError: exit 2 when there is no folder, 3 when it holds no evaluation, 6 for metrics that are no numbers.
    """
    if not folder.is_dir():
        raise usage("no such run folder", where=str(folder), fix="check the path")
    record = _read_record(folder / "evaluation.json")
    metrics = {
        name: float(value)
        for name, value in record.items()
        if name.startswith(tuple(f"{d}_" for d in DIRECTIONS))
    }
    if bad := [name for name, value in metrics.items() if not math.isfinite(value)]:
        raise non_finite(
            f"{', '.join(bad)} is no finite number",
            where=str(folder / "evaluation.json"),
            fix="evaluate the model again",
        )
    method = str(record.get("method") or folder.resolve().name)
    if method in RESERVED:
        raise usage(
            f"a method cannot be called {method!r}",
            where=str(folder),
            fix="evaluate it with another --method",
        )
    return Run(
        folder,
        method,
        int(record.get("seed") or 0),
        metrics,
        record,
        _read_queries(folder / "queries.npz"),
        read_params(folder / "params.txt"),
        read_log(folder / "metrics.csv"),
        read_validation(folder / "checkpoints" / "results.jsonl"),
        read_weights(folder / "weights.csv"),
    )


def _read_record(path: Path) -> dict[str, Any]:
    fix = "python -m tools.evaluate ... --out " + str(path.parent)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        for name in ("image_to_text_R@1", "text_to_image_R@1", "images", "texts"):
            float(record[name])
        int(record.get("seed") or 0)
    except FileNotFoundError:
        raise bad_input(
            "no evaluation.json: this model was not evaluated", where=str(path.parent), fix=fix
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise bad_input(
            f"not a evaluation.json of tools.evaluate: {error!r}", where=str(path), fix=fix
        ) from None
    return record


def _read_queries(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            queries = {name: arrays[name] for name in arrays.files}
        if (
            missing := {f"{d}_{part}" for d in DIRECTIONS for part in ("ranks", "top")}
            - queries.keys()
        ):
            raise ValueError(f"without {', '.join(sorted(missing))}")
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise bad_input(
            f"unreadable queries.npz: {error}", where=str(path), fix="evaluate the model again"
        ) from None
    return queries


def read_methods(folders: Sequence[Path]) -> list[Method]:
    """All runs, grouped by method in the order given.

    Raises:
        UserError: exit 2 for a folder given twice; exit 4 for runs whose numbers cannot be compared.
    """
    resolved = [folder.resolve() for folder in folders]
    if twice := [
        str(folder)
        for folder, real in zip(folders, resolved, strict=True)
        if resolved.count(real) > 1
    ]:
        raise usage("a run is given twice", where=twice[0], fix="name each run once")
    runs = [read_run(folder) for folder in folders]
    for run in runs[1:]:
        _check_comparable(runs[0], run)
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.method, []).append(run)
    return [Method(name, tuple(members)) for name, members in grouped.items()]


def _check_comparable(one: Run, other: Run) -> None:
    for name, meaning in (
        ("dataset_fingerprint", "evaluated on other data"),
        ("ties", "evaluated with another --ties"),
    ):
        ours, theirs = one.record.get(name), other.record.get(name)
        if ours != theirs:
            raise mismatch(
                f"{other.folder} was {meaning} than {one.folder}",
                where=f"{name} {str(theirs)[:16]} and {str(ours)[:16]}",
                why="their numbers cannot stand in one table",
                fix="evaluate both on the same data, or make a page for each",
            )
    for name in ("image_rows", "text_rows"):
        if not np.array_equal(one.queries.get(name, ()), other.queries.get(name, ())):
            raise mismatch(
                f"{other.folder} and {one.folder} have different queries",
                where=f"queries.npz, {name}",
                why="one of them could not read some pictures that the other could",
                fix="evaluate both again",
            )
