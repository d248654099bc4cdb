"""Read what runs left behind: their evaluation, and the options and logs of their training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.errors import bad_input, mismatch, non_finite, usage
from hardpairs.core.parse import parse_json
from hardpairs.data.manifest import check_same_dataset
from hardpairs.data.npy_files import read_arrays
from hardpairs.data.opening import open_samples
from hardpairs.data.samples import Samples
from hardpairs.training.logs import read_log, read_params, read_validation, read_weights

DIRECTIONS = {"image_to_text": "image → text", "text_to_image": "text → image"}
"""Prefixes of metric names, with their label on a page."""

LABELS = {
    "base": "base model",
    "plain": "plain continuation",
    "large_batch": "plain batches of four times the size",
    "hard": "hard-pair batches",
    "hard_sanw": "hard-pair batches + SANW",
    "memory_matched": "plain batches + matched memory",
}
"""Labels of the quickstart's methods; the label of any other method is its name."""

EVALUATES = "hardpairs evaluate --model MODEL --pretrained FILE --data PAIRS"
"""The command that writes what is read here, for messages."""

RESERVED = ("spread", "seconds", "mined", "versions", "tests")
"""Keys of the summary file that are not methods: no method may have such a name."""


def direction_of(key: str) -> str:
    """Return the direction that a metric's name starts with."""
    return next(direction for direction in DIRECTIONS if key.startswith(direction))


@dataclass(frozen=True, eq=False)
class Run:
    """One evaluated model.

    Attributes:
        folder: Where all of it was read from.
        method: The method's name as it was evaluated; the folder's name where it had none.
        seed: Seed of the training run.
        metrics: Numbers by name (``image_to_text_R@1``...); shares are fractions.
        record: The whole evaluation.json.
        queries: Arrays of queries.npz, by query.
        params: The training options; empty for a model that was only evaluated.
        log: Columns of the step log, by logged step; empty without one.
        validation: Results of OpenCLIP's own evaluation, one per epoch.
        weights: Shares of negatives in equal bins of SANW's weight, by epoch; empty without SANW.
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
    """Runs that were evaluated under one name: seeds of one method."""

    name: str
    runs: tuple[Run, ...]

    @property
    def label(self) -> str:
        """The method's name for readers."""
        return LABELS.get(self.name, self.name)

    @property
    def first(self) -> Run:
        """The run that stands for the method where only one is shown."""
        return self.runs[0]


def read_run(folder: Path) -> Run:
    """Read one run folder.

    Raises:
        UserError: Exit 2 when there is no folder, 3 when it holds no evaluation, 6 for metrics
            that are not finite numbers.
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
            f"{', '.join(bad)} is not a finite number",
            where=str(folder / "evaluation.json"),
            fix="evaluate the model again",
        )
    method = str(record.get("method") or folder.resolve().name)
    if method in RESERVED:
        raise usage(
            f"a method cannot be called {method!r}",
            where=str(folder),
            fix="evaluate it under another method name",
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
    fix = f"{EVALUATES} --out {path.parent}; or check the path"
    try:
        record: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
        for name in ("image_to_text_R@1", "text_to_image_R@1", "images", "texts"):
            float(record[name])
        int(record.get("seed") or 0)
    except FileNotFoundError:
        raise bad_input(
            "no evaluation.json: this model was not evaluated", where=str(path.parent), fix=fix
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise bad_input(
            f"not an evaluation.json of ours: {error!r}", where=str(path), fix=fix
        ) from None
    return record


def _read_queries(path: Path) -> dict[str, np.ndarray]:
    try:
        queries = read_arrays(path)
        if (
            missing := {f"{d}_{part}" for d in DIRECTIONS for part in ("ranks", "top")}
            - queries.keys()
        ):
            raise ValueError(f"without {', '.join(sorted(missing))}")
    except (OSError, ValueError) as error:
        raise bad_input(
            f"unreadable queries.npz: {error}", where=str(path), fix="evaluate the model again"
        ) from None
    return queries


def read_methods(folders: Sequence[Path]) -> list[Method]:
    """Read runs and group them by method, in the order given.

    Raises:
        UserError: Exit 2 for a folder given twice; exit 4 for runs whose numbers cannot be
            compared.
    """
    resolved = [folder.resolve() for folder in folders]
    for folder, real in zip(folders, resolved, strict=True):
        if resolved.count(real) > 1:
            raise usage("a run is given twice", where=str(folder), fix="name each run once")
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
        ("ties", "evaluated with another treatment of ties"),
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
                why="one of them could not read some images that the other could",
                fix="evaluate both again",
            )


def starting_runs(methods: Sequence[Method]) -> list[Run]:
    """Return the runs from whose checkpoints other runs started."""
    runs = [run for method in methods for run in method.runs]
    starts = [f"/{run.params.get('pretrained') or ''}" for run in runs]
    return [
        run
        for run in runs
        if any(f"/{run.folder.resolve().name}/checkpoints/" in start for start in starts)
    ]


def open_evaluated(run: Run) -> Samples:
    """Open the data that a run was evaluated on, where it was then.

    Raises:
        UserError: Exit 2 or 3 when it is not there or cannot be read, exit 4 when it has changed.
    """
    samples = open_samples(str(run.record.get("data")), split=run.record.get("split"))
    check_evaluated(run, samples)
    return samples


def check_evaluated(run: Run, samples: Samples) -> None:
    """Refuse (exit 4) other data than a run was evaluated on."""
    check_same_dataset(
        samples.fingerprint,
        run.record.get("dataset_fingerprint"),
        ours_name=samples.source,
        theirs_name=str(run.folder / "evaluation.json"),
    )
