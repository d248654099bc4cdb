"""Tell where a report's numbers came from: downloads, steps and commands, settings, licenses."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from hardpairs.core.errors import UserError, bad_input, usage
from hardpairs.core.parse import parse_json
from hardpairs.core.remote import FilePath, file_path
from hardpairs.data.columns import UNREADABLE
from hardpairs.data.downloads import download_failures
from hardpairs.data.members import TarPaths
from hardpairs.data.samples import Samples
from hardpairs.data.shards import expand_shards
from hardpairs.data.tables import read_table
from hardpairs.evaluating.runs import Method

NOT_SETTINGS = (
    "name",
    "log_path",
    "checkpoint_path",
    "logs",
    "tensorboard_path",
    "rank",
    "local_rank",
    "seed",
    "world_size",
    "batch_size",
)
"""Options that say where a run wrote, not how it was trained, or that ``settings`` shows in another
form."""

ALWAYS_SHOWN = (
    "model",
    "max_steps",
    "epochs",
    "lr",
    "warmup",
    "wd",
    "precision",
    "batching",
    "loss_fn",
    "false_negative_mask",
)


@dataclass(frozen=True)
class Step:
    """A step of the work that led to the report."""

    name: str
    seconds: float
    command: str


@dataclass(frozen=True)
class Download:
    """Counts of a URL table's downloads.

    Attributes:
        name: The table's name.
        entries: Entries that were asked for.
        lost: (reason, count) of entries that were not downloaded.
        unusable: (reason, count) of pairs that were downloaded and are rejected.
    """

    name: str
    entries: int
    lost: list[tuple[str, int]]
    unusable: list[tuple[str, int]]


def read_steps(path: Path | None) -> list[Step]:
    """Read a file of ``step<TAB>seconds<TAB>command`` lines; no file has no steps.

    Raises:
        UserError: Exit 2 when there is no such file, 3 for a line of another form.
    """
    if path is None:
        return []
    if not path.is_file():
        raise usage("no such file", where=str(path), fix="check the path")
    steps = []
    for number, line in enumerate(
        path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1
    ):
        if line.strip():
            try:
                name, seconds, command = line.split("\t", 2)
                steps.append(Step(name, float(seconds), command))
            except ValueError:
                raise bad_input(
                    "not a line of step, seconds and command, with tabs between",
                    where=f"{path}, line {number}",
                ) from None
    return steps


def download(
    source: str, samples: Samples, *, image_key: str, separator: str | None
) -> Download | None:
    """Read what became of a download from img2dataset's parquet files beside the shards.

    Args:
        source: A table, or the shards.
        samples: The data set.
        image_key: The table's column of image paths.
        separator: The table's separator; ``None`` finds it.

    Returns:
        ``None`` without such files.
    """
    entries, lost = 0, Counter[str]()
    for shard in _shards(source, image_key, separator):
        try:
            entries += pq.read_metadata(shard.with_suffix(".parquet")).num_rows
            lost += download_failures(shard)
        except UNREADABLE:
            continue  # no parquet file, or not one of img2dataset
    if not entries:
        return None
    unusable = Counter(reason.replace("_", " ") for reason in samples.rejected.values())
    return Download(Path(source).stem, entries, lost.most_common(), unusable.most_common())


def _shards(source: str, image_key: str, separator: str | None) -> list[FilePath]:
    try:
        if not source.lower().endswith((".csv", ".tsv", ".txt", ".json")):
            return expand_shards(source)
        if source.lower().endswith(".json"):
            return []
        images = read_table(source, separator, required=(image_key,))[image_key]
    except UserError:
        return []
    tar_paths = TarPaths()
    tars = dict.fromkeys(tar_paths.split(image)[0] for image in images)
    return [file_path(tar) for tar in tars if tar]


def settings(methods: Sequence[Method]) -> tuple[list[Method], list[tuple[str, list[str]]]]:
    """Return the usual settings, and every one in which the methods' first runs differ.

    Returns:
        The methods that were trained, and (setting, its value for each of them).
    """
    trained = [method for method in methods if method.first.params]
    params = [{**_in_effect(method.first.params), **_derived(method)} for method in trained]
    names = ["rows of a global batch", *ALWAYS_SHOWN, "seeds"]
    others = sorted({name for entry in params for name in entry} - set(names) - set(NOT_SETTINGS))
    names += [name for name in others if len({str(entry.get(name)) for entry in params}) > 1]
    rows = [(name, [_setting(entry.get(name)) for entry in params]) for name in names]
    return trained, [row for row in rows if any(value != "–" for value in row[1])]


def _in_effect(params: dict[str, Any]) -> dict[str, Any]:
    """Return the options without those of components that this run did not use."""
    idle = [] if str(params.get("loss_fn")).startswith("sanw") else ["sanw_"]
    idle += [] if params.get("batching") == "hard-pairs" else ["hard_", "empty_rows"]
    return {name: value for name, value in params.items() if not name.startswith(tuple(idle))}


def _derived(method: Method) -> dict[str, Any]:
    params = method.first.params
    seeds = [str(run.params.get("seed")) for run in method.runs if run.params]
    return {
        "rows of a global batch": global_batch(params),
        "seeds": ", ".join(dict.fromkeys(seeds)),
    }


def global_batch(params: dict[str, Any]) -> int:
    """Return the rows of a step, over all processes and accumulated batches."""
    return math.prod(
        int(params.get(name) or 1) for name in ("batch_size", "world_size", "accum_freq")
    )


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None or value == "" else str(value)


def demo_manifest(*paths: str) -> dict[str, Any]:
    """Return the manifest of demonstration data; empty for other data.

    It is looked for in the folder of each data file or shard, and in the two folders above.
    """
    for manifest in _manifests(paths):
        options = manifest.get("options")
        is_demo = isinstance(options, dict) and isinstance(options.get("kind"), str)
        if is_demo and isinstance(manifest.get("licence"), str):
            return manifest
    return {}


def image_licenses(*paths: str) -> list[str]:
    """Say whose the images of demonstration data and of ``hardpairs data get`` are.

    The manifest is looked for as in ``demo_manifest``.
    """
    if demo := demo_manifest(*paths):
        return [
            f"{demo['licence']}. Changed from the originals: photographed by a program, scaled "
            "down, compressed; they stay under the same license."
        ]
    for manifest in _manifests(paths):
        licenses = manifest.get("licenses")
        if manifest.get("kind") == "data set" and isinstance(licenses, dict):
            names = ", ".join(f"{name} ({count} pairs)" for name, count in licenses.items())
            return [
                f"{manifest.get('name')} of hardpairs data get, {names}. Changed from the "
                "originals: drawn and scaled by a program; they stay under the same license. The "
                "data's folder licenses has texts and authors."
            ]
    return []


def _manifests(paths: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield each manifest.json in the folders of data files, and in the two folders above."""
    for path in paths:
        for folder in list(Path(path.split("{")[0]).absolute().parents)[:3]:
            with contextlib.suppress(OSError, ValueError):
                manifest = parse_json((folder / "manifest.json").read_text(encoding="utf-8"))
                if isinstance(manifest, dict):
                    yield manifest
