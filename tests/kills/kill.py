"""Kill a command at its file operations and at random moments; the same command must then end as an undisturbed one.

    python -m tests.kills.kill SCENARIO FOLDER OPERATIONS KILLS SEED

prints JSON: how often it was killed, and what was wrong. ``OPERATIONS`` file operations are taken
at random, then random moments until there were ``KILLS`` kills.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import hashlib
import importlib
import io
import json
import os
import random
import shutil
import sys
import threading
import time
from pathlib import Path

from tqdm import tqdm

from tests.kills.operations import KILLED, Kill, forked, forked_ranks, watch
from tests.kills.scenarios import SCENARIOS, Scenario

KEPT = 5
"""Faults that are told of each kind."""
AGAIN = 0.3
"""Share of the runs killed at an operation that are killed once more."""
GRACE = (0.0, 0.0, 0.02, 0.2)
"""Seconds that the other processes of a run live on."""


class Killing:
    """The loop over kills of one scenario.

    Args:
        scenario: The command.
        folder: A folder for logs.
    """

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario, self.log = scenario, folder / "log"
        self.wrong: list[str] = []
        self.counts = collections.Counter(killed=0, wrong=0)

    def clean(self) -> None:
        shutil.rmtree(self.scenario.out, ignore_errors=True)
        self.scenario.reset()

    def output(self) -> dict[str, str]:
        """Return hashes of the output's files by name."""
        files = {}
        for path in sorted(self.scenario.out.rglob("*")):
            content = self.scenario.content(path) if path.is_file() else None
            if content is not None:
                name = self.scenario.renamed(str(path.relative_to(self.scenario.out)))
                files[name] = hashlib.sha256(content).hexdigest()
        return files

    def warm_up(self) -> None:
        """Import what the command imports, and let it fill its caches: forks of this process start with them."""
        self.clean()
        imported, before = self.log.with_name("imported"), set(sys.modules)

        def main() -> int:
            self.scenario.main()
            imported.write_text("\n".join(name for name in [*sys.modules] if name not in before))
            return 0

        self.end_well(forked(main, self.log))
        for name in imported.read_text().split("\n"):
            with contextlib.suppress(Exception):  # made, not imported
                importlib.import_module(name)
        if self.scenario.is_pure:
            self.clean()
            nowhere = io.StringIO()
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                self.scenario.main()
        # Its own lock would be one for all forks, and stay locked when its holder is killed.
        tqdm.set_lock(threading.RLock())
        gc.collect()
        gc.freeze()  # forks do not copy what their collector looks at

    def undisturbed(self) -> tuple[dict[str, str], float, int]:
        """Return the output of a whole run, the seconds that it took, and its file operations."""
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
            if os.environ.get("RANK", "0") == "0":
                counted.write_text(str(total))
            return 0

        started = time.perf_counter()
        self.end_well(forked_ranks(main, self.log, min(self.scenario.processes)))
        return self.output(), time.perf_counter() - started, int(counted.read_text())

    def end_well(self, code: int) -> None:
        assert code == 0, self.log.read_text()

    def killed(self, label: str, processes: int, kill: Kill) -> bool:
        """Return whether a run was killed, which is counted; it can have ended before."""
        code = forked_ranks(self.scenario.main, self.log, processes, kill)
        if code in KILLED:
            self.counts["killed"] += 1
        elif code:
            self.fault(f"{label}: exit {code} before the kill: {self.log.read_text()[-600:]}")
        return code in KILLED

    def settle(self, label: str, processes: int, expected: dict[str, str]) -> None:
        """Run the command to its end, and compare its output."""
        code = forked_ranks(self.scenario.main, self.log, processes)
        self.check(label, code, expected)

    def check(self, label: str, code: int, expected: dict[str, str]) -> None:
        """Compare exit code and output of a run that came to its end."""
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


def keep_to_one_thread() -> None:
    """Compute in one thread: a fork waits without end for threads that its parent alone has."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def kill(name: str, folder: Path, operations: int, kills: int, seed: int) -> dict[str, object]:
    """Return how often a scenario was killed, and what was wrong.

    Args:
        name: The scenario.
        folder: An empty folder.
        operations: File operations to kill at, in the first run; all are taken where there are
            fewer.
        kills: Kills in all.
        seed: Chooses operations, moments and numbers of processes.
    """
    keep_to_one_thread()
    killing, rng = Killing(SCENARIOS[name](folder), folder), random.Random(seed)
    processes = killing.scenario.processes
    killing.warm_up()
    expected, seconds, total = killing.undisturbed()

    def killed(label: str, **when: float) -> str:
        number = rng.choice(processes)
        label += f" of {number} processes" if len(processes) > 1 else ""
        killing.killed(
            label, number, Kill(**when, rank=rng.randrange(number), grace=rng.choice(GRACE))
        )
        return label

    for operation in sorted(rng.sample(range(1, total + 1), min(total, operations))):
        killing.clean()
        label = killed(f"operation {operation} of {total}", operation=operation)
        if rng.random() < AGAIN:
            label = killed(f"{label}, then another", operation=rng.randint(1, total))
        killing.settle(label, rng.choice(processes), expected)
    while killing.counts["killed"] < kills and not killing.counts["wrong"] > kills:
        killing.clean()
        label = "after"
        for _ in range(rng.choice((1, 1, 2, 3))):
            delay = rng.random() * seconds
            label = killed(f"{label} {delay:.3f} s", delay=delay)
        killing.settle(label, rng.choice(processes), expected)
    return {"operations": total, **killing.counts, "faults": killing.wrong}


if __name__ == "__main__":
    scenario, place, *numbers = sys.argv[1:]
    print(json.dumps(kill(scenario, Path(place), *map(int, numbers))))
