"""Crash a command between its file operations, with what was not flushed lost; then read its output and run it again.

    python -m tests.kills.crash SCENARIO FOLDER CRASHES SEED

prints JSON: the number of crashes, how many outputs were refused as damaged, and what was wrong. Of
all crashes a fifth comes after the end of the command, which must have lost nothing.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from hardpairs.core.errors import Exit, UserError
from hardpairs.data.manifest import read_manifest
from tests.kills.kill import Killing, keep_to_one_thread
from tests.kills.lost_writes import Step, crashes, record, write_tree
from tests.kills.operations import forked
from tests.kills.scenarios import SCENARIOS

AT_END = 5
"""One of so many crashes comes after the end."""


def taken_for_whole(folder: Path) -> list[list[Path]]:
    """Return the files that readers take for whole: those of each manifest, and checkpoints."""
    found = []
    for path in folder.rglob("*"):
        try:
            if path.name == "manifest.json":
                names = read_manifest(path.parent).get("files", {})
                found.append([path, *(path.parent / name for name in names)])
            elif path.suffix == ".pt":
                from hardpairs.models.checkpoint import load_checkpoint

                load_checkpoint(path)
                found.append([path])
        except UserError:
            continue
    return found


def was_there(files: list[Path], folder: Path, steps: list[Step]) -> bool:
    """Return whether files had their content at one time."""
    now = {str(path.relative_to(folder.parent)): path.read_bytes() for path in files}
    return any(
        all(name in step.tree and step.tree[name].content == now[name] for name in now)
        for step in steps
    )


def crash(name: str, folder: Path, count: int, seed: int) -> dict[str, object]:
    """Return how many crashes were tried, and what was wrong.

    Args:
        name: The scenario.
        folder: An empty folder.
        count: Number of crashes.
        seed: Chooses moments, and what is lost.
    """
    keep_to_one_thread()
    killing, rng = Killing(SCENARIOS[name](folder), folder), random.Random(seed)
    scenario = killing.scenario
    killing.warm_up()
    expected, _, _ = killing.undisturbed()
    killing.clean()
    steps = record(scenario.main, scenario.out, killing.log)
    end, refused = len(steps) - 1, 0
    for number in range(count):
        moment = rng.randrange(end) if number % AT_END else end
        label = f"crash {number} before operation {moment + 1} of {end}"
        write_tree(scenario.out, crashes(steps, moment, 1, rng)[0])
        scenario.reset()
        for files in taken_for_whole(scenario.out):
            if not was_there(files, scenario.out, steps):
                killing.fault(f"{label}: taken for whole: {files[0]}")
        if moment == end:
            found = killing.output()
            lost = [file for file in expected if found.get(file) != expected[file]]
            if lost:
                killing.fault(f"{label}, which is the end: lost {lost}")
        code = forked(scenario.main, killing.log)
        refused += code == Exit.MISMATCH
        if code != Exit.MISMATCH:
            killing.check(label, code, expected)
    return {
        "crashes": count,
        "operations": end,
        "refused": refused,
        "wrong": killing.counts["wrong"],
        "faults": killing.wrong,
    }


if __name__ == "__main__":
    scenario_name, place, *numbers = sys.argv[1:]
    print(json.dumps(crash(scenario_name, Path(place), *map(int, numbers))))
