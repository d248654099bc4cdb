"""Crash a command between its file operations, with what was not flushed lost; then read its output and run it again.

    python -m tests.kills.crash SCENARIO FOLDER COUNT SEED

prints JSON: the number of crashes, and what was wrong.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from hardpairs.core.errors import UserError
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.manifest import read_manifest
from hardpairs.models.checkpoint import load_checkpoint
from tests.kills.kill import Killing
from tests.kills.lost_writes import crash, record, write_files
from tests.kills.scenarios import SCENARIOS

READERS: dict[str, Callable[[Path], object]] = {
    ".pt": load_checkpoint,
    "manifest.json": lambda path: read_manifest(path.parent, verify=True),
    "indices.npy": lambda path: HardPairTable.open(path.parent, verify=True),
}


def unreadable(folder: Path) -> list[str]:
    """Return the files of an output that are refused, or that nobody can read."""
    wrong = []
    for path in folder.rglob("*"):
        read = READERS.get(path.name) or READERS.get(path.suffix)
        if read is not None and not path.name.startswith("."):
            try:
                read(path)
            except UserError as error:
                wrong.append(f"{path.name}: {error.what}")
    return wrong


def crashes(name: str, folder: Path, count: int, seed: int) -> dict[str, object]:
    """Return how many crashes were tried, and what was wrong."""
    torch.set_num_threads(1)
    scenario, rng = SCENARIOS[name](folder), random.Random(seed)
    killing = Killing(scenario, folder)
    killing.undisturbed()
    expected, _ = killing.undisturbed()
    killing.clean()
    scenario.out.mkdir(exist_ok=True)
    steps = record(scenario.main, scenario.out, folder / "log")
    for number in range(count):
        moment = rng.randrange(len(steps)) if number % 5 else len(steps) - 1
        label = f"crash {number} before operation {moment} of {len(steps) - 1}"
        write_files(scenario.out, crash(steps, moment, rng))
        scenario.reset()
        refused = unreadable(scenario.out)
        if moment == len(steps) - 1:
            found = killing.output()
            lost = [file for file in expected if found.get(file) != expected[file]]
            if lost or refused:
                killing.fault(f"{label}: finished and lost: {lost} {refused}")
        elif any(".pt" in text or "manifest" in text for text in refused):
            killing.fault(f"{label}: {refused}")
        killing.settle(label, expected)
    return {"crashes": count, "operations": len(steps) - 1, "faults": killing.wrong}


if __name__ == "__main__":
    scenario_name, place, *numbers = sys.argv[1:]
    print(json.dumps(crashes(scenario_name, Path(place), *map(int, numbers))))
