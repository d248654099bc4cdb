"""Kill all commands many times, and write what was found.

    python -m tests.kills.run --kills 10000 --out benchmarks/results/kills.json

Kills go round the scenarios in pieces of one seed each. The file is written after each piece, so
that it is true when the run is stopped; the same command goes on, also when there are new scenarios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hardpairs.core.atomic import write_json
from tests.helpers import run

SHARES = {
    "checkpoint": 8,
    "conversion": 20,
    "url-index": 4,
    "format-news": 4,
    "import-miniclip": 1,
    "table": 14,
    "split": 10,
    "list-shards": 12,
    "export": 10,
    "link": 1,
    "evaluate and retrieve": 1,
    "report": 1,
    "index": 3,
    "embed": 2,
    "embed on 1 to 3 processes": 1,
    "mine": 3,
    "mine on 1 to 3 processes": 2,
    "mine in a ring": 1,
    "train": 1,
    "train on 2 processes": 1,
}
"""Kills of each scenario of 100."""
LIGHT = ("conversion", "url-index", "format-news", "table", "split", "list-shards", "export")
"""Scenarios without PyTorch: forks of a process that has not imported it cost a twentieth."""
PIECE = 500
"""A piece is the share of a scenario of so many kills."""
NOTHING: Mapping[str, Mapping[str, int]] = {}
Piece = tuple[str, int, int]


def pieces(kills: int, found: Mapping[str, Mapping[str, int]] = NOTHING) -> Iterator[Piece]:
    """Yield the scenario that is furthest behind its share, a seed, and a number of kills.

    Args:
        kills: Of all scenarios, what was found included.
        found: Kills and pieces of each scenario so far.
    """
    done = {name: found.get(name, {}).get("kills", 0) for name in SHARES}
    seeds = {name: found.get(name, {}).get("pieces", 0) for name in SHARES}
    while sum(done.values()) < kills:
        name = min(SHARES, key=lambda name: done[name] / SHARES[name])
        size = -(-min(PIECE, kills) * SHARES[name] // 100)
        done[name] += size
        seeds[name] += 1
        yield name, seeds[name], size


def found_by(loop: str, name: str, folder: Path, *numbers: int) -> dict[str, Any]:
    """Return what ``tests.kills.kill`` or ``tests.kills.crash`` found, in a process of its own.

    Args:
        loop: Name of the module.
        name: The scenario.
        folder: A folder to work in.
        *numbers: As its command line has them.
    """
    words = ("python", "-m", f"tests.kills.{loop}", name, str(folder), *map(str, numbers))
    done = run(*words, fresh=name in LIGHT, timeout=24 * 3600)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10_000)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    report: dict[str, Any] = {
        "command": f"python -m tests.kills.run --kills {args.kills}",
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "kills": 0,
        "wrong": 0,
        "scenarios": {},
    }
    if args.out.exists():
        report = json.loads(args.out.read_text())
    for name, seed, kills in pieces(args.kills, report["scenarios"]):
        with tempfile.TemporaryDirectory(dir=memory, prefix="hardpairs-") as folder:
            piece = found_by("kill", name, Path(folder), kills // 2, kills, seed)
        add(report, name, piece)
        write_json(args.out, report)
        print(name, seed, report["kills"], report["wrong"], flush=True)


def add(report: dict[str, Any], name: str, piece: dict[str, Any]) -> None:
    """Add what a piece found to the report of all."""
    nothing = {"kills": 0, "wrong": 0, "pieces": 0, "operations": 0, "faults": []}
    scenario = report["scenarios"].setdefault(name, nothing)
    for total in (report, scenario):
        total["kills"] += piece["killed"]
        total["wrong"] += piece["wrong"]
    scenario["operations"] = piece["operations"]
    scenario["faults"] += piece["faults"]
    scenario["pieces"] += 1


if __name__ == "__main__":
    main()
