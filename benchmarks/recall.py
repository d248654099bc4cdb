"""Tell whether the interval that an approximate search prints holds its recall over all rows.

    python -m benchmarks.recall icons-features emoji-features openclipart-features --out benchmarks/results/recall.json
    python -m benchmarks.recall --made 100000 --targets .95 .99 --out benchmarks/results/recall.json

Each folder of embeddings is mined once exactly, and with 20 seeds at each setting. Recall over all
rows is counted from the two tables. An interval of 95 % holds it in 19 of 20 runs on average, so a
good one may miss twice. Therefore 2,000 more samples are drawn for the lists of the first run. A
setting at which all rows are compared without a sample is left out. Known positives of the folder
are no pairs, as in ``mine``. Of more than ``--most`` rows a seeded draw is searched.

``--made N`` searches N pairs like those of ``benchmarks.mining``, exactly and in clusters, once.

Seconds are those of the processor: other work beside this one changes them little.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import describe_machine
from benchmarks.mining import KINDS, TOP_K, show
from hardpairs.core.atomic import write_json
from hardpairs.data.embeddings import open_embeddings
from hardpairs.mining.api import search
from hardpairs.mining.clusters import exact_because
from hardpairs.mining.options import MiningOptions
from hardpairs.mining.recall import estimated_share
from hardpairs.mining.result import MiningResult

REDRAWN = 2000
MEASURES = ("pairs", "score")
SHARE = ("all_rows", "low", "high")
"""What is kept of each run, in this order."""


class Mined:
    """Rows, their exact lists, and searches that are compared with these.

    Args:
        image: (N, D_image) embeddings.
        text: (N, D_text) embeddings.
        groups: Known positives, as ``mining.api.search`` takes them.
    """

    def __init__(
        self, image: np.ndarray, text: np.ndarray, groups: np.ndarray | None = None
    ) -> None:
        self.arrays, self.groups = (image, text), groups
        self.exact, self.seconds = self.search({})
        exact = self.exact
        self.wholes = {
            "pairs": (exact.indices >= 0).sum(axis=1),
            "score": exact.scores.sum(axis=1, dtype=np.float64),
        }

    def search(self, options: dict[str, Any]) -> tuple[MiningResult, float]:
        """Return the result of a search, and its processor seconds."""
        start = time.process_time()
        rules = MiningOptions(top_k=TOP_K, **options)
        result = search(*self.arrays, rules, groups=self.groups)
        assert result is not None
        return result, time.process_time() - start

    def parts(self, result: MiningResult) -> dict[str, np.ndarray]:
        """Return for each row what a result has of its exact list."""
        pairs = zip(self.exact.indices, result.indices, strict=True)
        found = np.array([np.isin(wanted[wanted >= 0], own).sum() for wanted, own in pairs])
        return {"pairs": found, "score": result.scores.sum(axis=1, dtype=np.float64)}

    def run(self, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what a search says of its recall and what it is, and the parts of all rows."""
        result, seconds = self.search(options)
        parts = self.parts(result)
        row: dict[str, Any] = {"seconds": seconds, **(result.clusters or {})}
        for name in MEASURES:
            value = min(float(parts[name].sum() / self.wholes[name].sum()), 1.0)
            row[name] = {"all_rows": value}
            if result.recall is not None:  # else all rows were compared
                said = result.recall.for_manifest()[name]
                row[name] |= {**said, "holds": bool(said["low"] <= value <= said["high"])}
                row["rows"] = result.recall.rows
        return row, parts

    def redrawn(self, parts: dict[str, np.ndarray], size: int) -> dict[str, float]:
        """Return the share of samples whose interval holds the share of all rows."""
        count, rng = len(self.exact.indices), np.random.default_rng(0)
        held = dict.fromkeys(MEASURES, 0)
        for _ in range(REDRAWN):
            rows = rng.choice(count, size, replace=False)
            for name in MEASURES:
                part, whole = parts[name], self.wholes[name]
                share = estimated_share(part[rows], whole[rows], count)
                held[name] += share.low <= part.sum() / whole.sum() <= share.high
        return {name: number / REDRAWN for name, number in held.items()}


def settings(count: int, targets: list[float]) -> dict[str, dict[str, Any]]:
    """Return the options of the searches in clusters of ``count`` rows, by their names."""
    return {
        f"ivf {target:g}": {"candidates": "ivf", "target_recall": target}
        for target in targets
        if exact_because(count, target) is None
    }


def coverage(folder: Path, seeds: int, most: int, targets: list[float]) -> list[dict[str, Any]]:
    """Count the runs whose interval holds the recall of all rows, for each setting.

    Args:
        folder: Embeddings.
        seeds: Runs of a setting.
        most: Rows to draw where there are more.
        targets: Recalls that searches in clusters aim at.
    """
    stored, rng = open_embeddings(folder), np.random.default_rng(0)
    count = min(most, len(stored.rows))
    drawn = np.sort(rng.choice(len(stored.rows), count, replace=False))
    groups = None if stored.positives is None else stored.positives[drawn]
    mined = Mined(stored.image[drawn], stored.text[drawn], groups)
    rows = []
    pool = {"pool of 1/4": {"approx": count // 4}}
    for name, options in {**settings(count, targets), **pool}.items():
        runs: list[dict[str, Any]] = []
        redrawn: dict[str, float] = {}
        for seed in range(seeds):
            row, parts = mined.run({**options, "seed": seed})
            runs.append({"seed": seed, **row})
            if "rows" in row and not redrawn:
                redrawn = mined.redrawn(parts, row["rows"])
        measured = [run for run in runs if "rows" in run]
        compared = [run["compared"] for run in runs if "compared" in run]
        rows.append(
            {
                "data": folder.name,
                "pairs": count,
                "setting": name,
                "rows": max(run.get("rows", 0) for run in runs),
                "compared_all": seeds - len(measured),
                "held": {part: sum(run[part]["holds"] for run in measured) for part in MEASURES},
                "recall": [f([run["pairs"]["all_rows"] for run in runs]) for f in (min, max)],
                "reached": sum(
                    run["pairs"]["all_rows"] >= options.get("target_recall", 0) for run in runs
                ),
                "compared": [min(compared), max(compared)] if compared else None,
                "redrawn": redrawn,
                "seconds": float(np.median([run["seconds"] for run in runs])),
                "exact_seconds": mined.seconds,
                "runs": {
                    part: [[run[part][key] for key in SHARE if key in run[part]] for run in runs]
                    for part in MEASURES
                },
            }
        )
        show({key: value for key, value in rows[-1].items() if key != "runs"})
    return rows


def made(count: int, targets: list[float]) -> Iterator[dict[str, Any]]:
    """Search N made pairs exactly and in their nearest clusters, and yield what each took."""
    mined = Mined(*KINDS["themed"](count))
    yield {"pairs": count, "setting": "exact", "seconds": mined.seconds}
    for name, options in settings(count, targets).items():
        yield {"pairs": count, "setting": name, **mined.run(options)[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("embeddings", nargs="*", type=Path, help="folders of embeddings")
    parser.add_argument("--targets", nargs="+", type=float, default=[0.8, 0.95, 0.99])
    parser.add_argument("--most", type=int, default=6500, help="rows of a folder")
    parser.add_argument("--made", type=int, help="pairs to make")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="its other parts stay")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    search(*KINDS["themed"](2000), MiningOptions(top_k=TOP_K))  # compiles
    given = [Path(word).name if Path(word).is_dir() else word for word in sys.argv[1:]]
    record = json.loads(args.out.read_text()) if args.out.exists() else {}

    def keep(part: str, rows: list[dict[str, Any]]) -> None:
        record[part] = {
            "command": " ".join(["python -m benchmarks.recall", *given]),
            "threads": args.threads,
            "load": os.getloadavg()[0],
            "machine": describe_machine(),
            "result": rows,
        }
        write_json(args.out, record)

    for folder in args.embeddings:
        keep(folder.name, coverage(folder, args.seeds, args.most, args.targets))
    if args.made:
        rows: list[dict[str, Any]] = []
        for row in made(args.made, args.targets):
            show(row)
            rows.append(row)
            keep("made", rows)


if __name__ == "__main__":
    main()
