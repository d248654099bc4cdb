"""How many damaged files of each kind are read as they should: a right result or an error of ours.

    python -m benchmarks.fuzz --files 200000 --out benchmarks/results/fuzz.json

``outside`` counts what took more than 5 seconds or 300 MB, or ended in an error that is not ours.
The files are those of ``tests/fuzz``: the same for the same number.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe_machine
from hardpairs.core.atomic import write_json
from tests.fuzz.check import check

MEMORY = Path("/dev/shm")


def main() -> int:
    """Read the files, print and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--out")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    began = time.process_time()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        outcomes = check(Path(folder), args.files)
    seconds = time.process_time() - began
    for name, (files, faults) in outcomes.items():
        print(f"{name:<36}{files:>8}{len(faults):>6}", *faults[:3], sep="  ")
    total = sum(files for files, _ in outcomes.values())
    outside = {name: faults for name, (_, faults) in outcomes.items() if faults}
    count = sum(map(len, outside.values()))
    print(f"{total} files, {count} outside the contract, {seconds:.0f} s of processor time")
    if args.out:
        numbers = {
            "command": " ".join(["python -m benchmarks.fuzz", *sys.argv[1:]]),
            "machine": describe_machine(),
            "files": total,
            "outside": count,
            "processor_s": round(seconds),
            "readers": {name: files for name, (files, _) in outcomes.items()},
            "faults": outside,
        }
        write_json(args.out, numbers)
    return int(bool(count))


if __name__ == "__main__":
    sys.exit(main())
