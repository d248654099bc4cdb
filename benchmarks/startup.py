"""Measure the start-up time of every command: ``--help`` in a fresh process, and its imports.

    python -m benchmarks.startup --out benchmarks/results/startup.json

The time is the median of several runs, by the clock and of the processor. The profile is Python's
own (``-X importtime``): the packages whose imports take longest, each with all that it imports.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.machine import describe_machine
from hardpairs.cli import COMMANDS
from hardpairs.core.atomic import write_json

HEAVIEST = 4
"""Packages that the profile of a command names."""
_IMPORT = re.compile(r"^import time:\s+(\d+) \|\s+(\d+) \| (\s*)(\S+)$", re.MULTILINE)


def help_command(name: str, *options: str) -> list[str]:
    """Return the command that prints the help of one of our commands."""
    return [sys.executable, *options, "-m", "hardpairs.cli", *name.split(), "--help"]


def measure(name: str, runs: int) -> dict[str, float]:
    """Return the median seconds of a command's ``--help``, by the clock and of the processor."""
    clock, processor = [], []
    for _ in range(runs):
        before, start = os.times(), time.perf_counter()
        subprocess.run(help_command(name), check=True, capture_output=True)
        clock.append(time.perf_counter() - start)
        after = os.times()
        used = after.children_user + after.children_system
        processor.append(used - before.children_user - before.children_system)
    return {
        "seconds": round(statistics.median(clock), 3),
        "processor_seconds": round(statistics.median(processor), 3),
    }


def profile(name: str) -> dict[str, int | dict[str, float]]:
    """Return the number of imported modules and the milliseconds of the heaviest packages."""
    done = subprocess.run(help_command(name, "-X", "importtime"), capture_output=True, text=True)
    rows = _IMPORT.findall(done.stderr)
    packages: dict[str, int] = {}
    for _, cumulative, _, module in rows:
        package = module.split(".")[0] if not module.startswith("hardpairs") else module
        packages[package] = max(packages.get(package, 0), int(cumulative))
    shown = {name: time for name, time in packages.items() if not name.startswith("hardpairs")}
    heaviest = sorted(shown, key=lambda package: -shown[package])[:HEAVIEST]
    return {
        "modules": len(rows),
        "heaviest": {package: round(shown[package] / 1000, 1) for package in heaviest},
    }


def main() -> None:
    """Print a table and write it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each command")
    parser.add_argument("--commands", nargs="*", choices=COMMANDS, help="commands to time (all)")
    parser.add_argument("--out", type=Path, help="JSON file")
    args = parser.parse_args()
    results = []
    print("| command | seconds | of processor | modules | heaviest imports, ms |")
    print("|---|---|---|---|---|")
    for name in args.commands or COMMANDS:
        row = {"command": name, **measure(name, args.runs), **profile(name)}
        results.append(row)
        heaviest = ", ".join(f"{package} {time:.0f}" for package, time in row["heaviest"].items())
        numbers = f"{row['seconds']:.2f} | {row['processor_seconds']:.2f} | {row['modules']}"
        print(f"| {name} | {numbers} | {heaviest} |", flush=True)
    if args.out:
        command = f"python -m benchmarks.startup --runs {args.runs} --out {args.out}"
        machine = describe_machine()
        write_json(args.out, {"command": command, "machine": machine, "results": results})


if __name__ == "__main__":
    main()
