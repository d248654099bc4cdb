"""Exact mining on one process, on two that map one file of rows, and on two in a ring.

    python -m benchmarks.ring --out benchmarks/results/ring.json
    python -m benchmarks.ring --pairs 3000 --out /tmp/look.json

Themed data as in ``benchmarks.mining``: 384-d images and 768-d captions, K = 50, one thread for each
process. A last run of one process is allowed too little memory for all rows, so that they stream from
their file. Each process measures its own peak, mapped pages included, above what it has before the
search. Compiled loops are loaded before. The tables are compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import PeakMemory, describe_machine
from benchmarks.mining import TOP_K, make_data
from hardpairs.core.atomic import write_json
from hardpairs.core.progress import Progress
from hardpairs.core.ranks import join
from hardpairs.mining.api import Execution, search
from hardpairs.mining.options import MiningOptions

CASES = {
    "one process": (1, "shared"),
    "two, one file": (2, "shared"),
    "two in a ring": (2, "ring"),
    "one, streaming": (1, "stream"),
}


def one(folder: Path, held: str) -> None:
    """Measure in this process, which may be one of several."""
    ranks = join()
    image, text = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("image", "text"))
    options = MiningOptions(top_k=TOP_K)
    search(np.array(image[:5000]), np.array(text[:5000]), options)
    progress = Progress(folder / "work", {}, owner=ranks.rank == 0)
    ranks.barrier()
    memory, start = PeakMemory(), time.perf_counter()
    execution = Execution(
        progress=progress,
        ranks=ranks,
        held="ring" if held == "ring" else "shared",
        max_memory=(100 << 20) + 7_000 * len(image) if held == "stream" else 8 << 30,
        verbose=True,
    )
    result = search(image, text, options, execution=execution)
    measured: dict[str, Any] = {
        "seconds": time.perf_counter() - start,
        "gigabytes": memory.gigabytes(),
    }
    if result is not None:
        table = result.indices.tobytes() + result.scores.tobytes()
        measured["table"] = hashlib.sha256(table).hexdigest()
        progress.remove()
    (folder / f"{ranks.rank}.json").write_text(json.dumps(measured))
    ranks.close()


def measure(folder: Path, processes: int, held: str) -> list[dict[str, Any]]:
    """Return what each process measured."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = ["-m", "benchmarks.ring", "--one", held, "--folder", str(folder)]
    line = [sys.executable, *(launcher if processes > 1 else []), *command]
    done = subprocess.run(
        line, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(processes)]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args.folder, args.one)
        return
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        make_data("themed", args.pairs, Path(folder))
        for name, (processes, held) in CASES.items():
            measured = measure(Path(folder), processes, held)
            runs[name] = {
                "seconds": max(process["seconds"] for process in measured),
                "gigabytes": [process["gigabytes"] for process in measured],
                "table": measured[0]["table"],
            }
            print(name, runs[name], flush=True)
    report = {
        "command": f"python -m benchmarks.ring --pairs {args.pairs}",
        **describe_machine(),
        "pairs": args.pairs,
        "same_table": len({run.pop("table") for run in runs.values()}) == 1,
        "runs": runs,
    }
    if args.out:
        write_json(args.out, report)


if __name__ == "__main__":
    main()
