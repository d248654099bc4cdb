"""Kill a command at its file operations and at random moments; the same command must then end as an undisturbed one.

    python -m tests.kills.kill SCENARIO FOLDER OPERATIONS MOMENTS SEED

prints JSON: how often it was killed, and what was wrong. Of the file operations, ``OPERATIONS`` are taken at random.
"""

from __future__ import annotations

import collections
import hashlib
import json
import random
import shutil
import sys
import time
from pathlib import Path

import torch

from tests.kills.operations import forked, watch
from tests.kills.scenarios import SCENARIOS, Scenario

KILLED = (-9, -14)
KEPT = 5
"""Faults that are told of each kind."""


class Killing:
    """The loop over kills of one scenario.

    Args:
        scenario: The command.
        folder: A folder for logs.
    """

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario, self.log = scenario, folder / "log"
        self.wrong: list[str] = []
        self.counts: collections.Counter[str] = collections.Counter()

    def clean(self) -> None:
        shutil.rmtree(self.scenario.out, ignore_errors=True)
        self.scenario.reset()

    def output(self) -> dict[str, str]:
        """Return the files of the output by name, as hashes; temporary ones are counted as left."""
        files = {}
        for path in sorted(self.scenario.out.rglob("*")):
            if path.name.startswith(".") and path.name.endswith(".tmp"):
                self.counts["left"] += 1
                continue
            name = self.scenario.renamed(str(path.relative_to(self.scenario.out)))
            if path.is_file() and not (
                name == "manifest.json" and self.scenario.renamed is not str
            ):
                files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return files

    def undisturbed(self) -> tuple[dict[str, str], float]:
        """Return the output of a whole run, and the seconds that it took."""
        self.clean()
        started = time.perf_counter()
        code = forked(self.scenario.main, self.log)
        assert code == 0, self.log.read_text()
        return self.output(), time.perf_counter() - started

    def operations(self) -> int:
        """Return the number of file operations of a whole run."""
        self.clean()
        counted = self.log.with_name("operations")

        def main() -> int:
            done = 0

            def count(*_: object) -> None:
                nonlocal done
                done += 1

            watch(count)
            self.scenario.main()
            total = done
            counted.write_text(str(total))
            return 0

        assert forked(main, self.log) == 0, self.log.read_text()
        return int(counted.read_text())

    def killed(self, label: str, **kill: float) -> None:
        """Count a run that is killed."""
        code = forked(self.scenario.main, self.log, **kill)
        if code in KILLED:
            self.counts["killed"] += 1
        elif code:
            self.fault(f"{label}: exit {code} before the kill: {self.log.read_text()[-600:]}")

    def settle(self, label: str, expected: dict[str, str]) -> None:
        """Run the command to its end, and compare its output."""
        code = forked(self.scenario.main, self.log)
        if code:
            self.fault(f"{label}: exit {code}: {self.log.read_text()[-600:]}")
            return
        found = self.output()
        other = sorted(
            name for name in {*found, *expected} if found.get(name) != expected.get(name)
        )
        if other:
            self.fault(f"{label}: other files: {other}")

    def fault(self, text: str) -> None:
        self.counts["wrong"] += 1
        if len(self.wrong) < KEPT:
            self.wrong.append(text)


def spread(total: int, count: int, rng: random.Random) -> list[int]:
    """Return operations to kill at, from 1: all, or some of them at random."""
    return sorted(rng.sample(range(1, total + 1), min(total, count)))


def kill(name: str, folder: Path, operations: int, moments: int, seed: int) -> dict[str, object]:
    """Return how often a scenario was killed, and what was wrong."""
    torch.set_num_threads(1)
    killing, rng = Killing(SCENARIOS[name](folder), folder), random.Random(seed)
    killing.undisturbed()  # compiled code is in its cache afterwards
    expected, seconds = killing.undisturbed()
    total = killing.operations()
    for operation in spread(total, operations, rng):
        killing.clean()
        label = f"operation {operation} of {total}"
        killing.killed(label, operation=operation)
        if rng.random() < 0.3:
            killing.killed(f"{label}, then", operation=rng.randint(1, total))
        killing.settle(label, expected)
    while moments > 0:
        killing.clean()
        label = ""
        for _ in range(min(moments, rng.choice((1, 1, 2, 3)))):
            delay = rng.random() * seconds
            label += f" {delay:.3f} s"
            killing.killed(label, delay=delay)
            moments -= 1
        killing.settle(f"after{label}", expected)
    return {"operations": total, **killing.counts, "faults": killing.wrong}


if __name__ == "__main__":
    scenario, place, *numbers = sys.argv[1:]
    print(json.dumps(kill(scenario, Path(place), *map(int, numbers))))
