"""Run a benchmark of this checkout and of an earlier commit by turns, and compare their times.

    python -m benchmarks.against 0e16016 --out benchmarks/results/against.json

The earlier commit is checked out into a temporary folder. Each side runs its own file of
``benchmarks/``, so that a change of the API does not matter, in the same environment. The figures
whose name has "seconds" are compared: the shortest of all turns of each side, and their ratio
(new / old). Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from hardpairs.core.atomic import write_json

ROOT = Path(__file__).resolve().parents[1]
PARTS = {
    "mining": ("mining", "--pairs 20000 --repeats 1 --kinds themed --only methods"),
    "batches": ("data", "--only plan --plan-rows 1000000"),
    "losses": ("losses", "--batch 1024 --large 2048 --block 512 --step-pairs 2 --rounds 2"),
    "linkage": ("linkage", "--rows 6000 --repeats 1"),
}
"""Part -> its benchmark and the arguments that both sides get."""
OURS = {"mining": "ours", "linkage": "ours"}
"""Part -> the word in the names of our own figures, where the benchmark times peers too."""


def run_once(checkout: Path, part: str) -> dict[str, float]:
    """Run a part's benchmark in a checkout; return its times by name."""
    name, options = PARTS[part]
    paths = os.pathsep.join([str(checkout / "src"), str(checkout)])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        line = [sys.executable, "-m", f"benchmarks.{name}", *options.split(), "--out", str(out)]
        environment = {**os.environ, "PYTHONPATH": paths}
        subprocess.run(line, cwd=checkout, env=environment, check=True, capture_output=True)
        times = dict(_times(json.loads(out.read_text())))
    word = OURS.get(part)
    return {key: value for key, value in times.items() if word in (None, *key.split("/"))}


def _times(figures: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers whose name has "seconds", each with its path in the figures."""
    if isinstance(figures, dict):
        label = figures.get("method")
        for name, value in figures.items():
            if name in ("all", "all_seconds"):  # single runs, of which the shortest stands beside
                continue
            yield from _times(value, "/".join(filter(None, (path, label, name))))
    elif isinstance(figures, list):
        for value in figures:
            yield from _times(value, path)
    elif isinstance(figures, (int, float)) and "seconds" in path.rpartition("/")[2]:
        yield path, float(figures)


def compare(old: Path, part: str, turns: int) -> dict[str, dict[str, float]]:
    """Return {figure: shortest time of both sides and their ratio} of a part."""
    best: dict[str, dict[str, float]] = {"old": {}, "new": {}}
    for turn in range(turns):
        sides = [("old", old), ("new", ROOT)]
        for side, checkout in sides[:: 1 if turn % 2 else -1]:
            for name, seconds in run_once(checkout, part).items():
                best[side][name] = min(seconds, best[side].get(name, seconds))
    return {
        name: {
            "old_seconds": best["old"][name],
            "new_seconds": seconds,
            "new_to_old": round(seconds / best["old"][name], 3),
        }
        for name, seconds in best["new"].items()
        if name in best["old"]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("commit")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    command = " ".join(["python", "-m", "benchmarks.against", *sys.argv[1:]])
    git = ["git", "-C", str(ROOT)]
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / "old"
        subprocess.run(
            [*git, "worktree", "add", "-q", "--detach", str(old), args.commit], check=True
        )
        try:
            results = json.loads(args.out.read_text()) if args.out.exists() else {}
            for part in args.only:
                figures = compare(old, part, args.turns)
                machine = {"machine": describe_machine(), "load": os.getloadavg()[1]}
                results[part] = {"command": command, **machine, "result": figures}
                write_json(args.out, results)
                for name, row in figures.items():
                    print(f"{part}: {name}: {row['new_to_old']:.3f} of {row['old_seconds']:.4g} s")
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(old)], check=True)


if __name__ == "__main__":
    main()
