"""Predictions of ``hardpairs plan`` against real searches: time, and peak memory of a process.

    python -m benchmarks.plan --out benchmarks/results/plan.json
    python -m benchmarks.plan --rows 3000 --machine machine.json --out /tmp/look.json

Calibrates this machine, then mines made embeddings (64-d images and 64-d captions, K = 50) on one
process and on two with one file of rows, of one thread each. The seed of the rows is not that of the
calibration. Each process measures the clock, its processor time and its peak, pages of mapped files
included. Predictions are of an idle machine, so processor time is what they are compared with; the
clock beside it says how much other work there was. The same work takes up to a third longer a few
minutes later on a machine whose host has other guests. So the constants of mining are measured again
after each run, and the prediction is the mean of those from right before and right after it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe_machine
from hardpairs.core.atomic import write_json
from hardpairs.core.progress import Progress
from hardpairs.core.ranks import Ranks, join
from hardpairs.mining.api import Execution, search
from hardpairs.mining.options import MiningOptions
from hardpairs.planning.calibrate import calibrate
from hardpairs.planning.cost import Cost
from hardpairs.planning.machine import Machine, open_machine
from hardpairs.planning.made_rows import themed_rows
from hardpairs.planning.measure_mining import Effort, measure_mining
from hardpairs.planning.mining_cost import mining_cost, mining_plan
from hardpairs.planning.resident import peak_bytes, resident_bytes, start_peak
from hardpairs.planning.schedule import simulate, simulated_seconds

WIDTHS = (64, 64)
TOP_K = 50
SEED = 7
MEMORY = 8 << 30
COMPUTING = ("vectors", "order", "search", "decide", "hand over")
"""Stages of a search that are processor time."""


def one(folder: Path) -> None:
    """Measure in this process, which may be one of two."""
    ranks = join()
    image, text = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("image", "text"))
    options = MiningOptions(top_k=TOP_K)
    search(np.array(image[:500]), np.array(text[:500]), options)  # loads compiled loops
    progress = Progress(folder / "work", {}, owner=ranks.rank == 0)
    ranks.barrier()
    start_peak()
    resident = resident_bytes()
    start, before = time.perf_counter(), time.process_time()
    execution = Execution(
        progress=progress, ranks=ranks, max_memory=MEMORY, precision=None, held="shared"
    )
    result = search(image, text, options, execution=execution)
    measured = {
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - before,
        "resident_bytes": resident,
        "peak_bytes": peak_bytes(),
    }
    ranks.barrier()
    if result is not None:
        progress.remove()
    (folder / f"{ranks.rank}.json").write_text(json.dumps(measured))
    ranks.close()


def measure(folder: Path, processes: int) -> list[dict[str, Any]]:
    """Return what each process measured."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = ["-m", "benchmarks.plan", "--one", "--folder", str(folder)]
    line = [sys.executable, *(launcher if processes > 1 else []), *command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(processes)]


def predict(machine: Machine, rows: int, processes: int) -> Cost:
    """Return the cost of one search by the constants of a calibration."""
    return mining_cost(machine, rows, WIDTHS, processes=processes, max_memory=MEMORY, top_k=TOP_K)


def computing(cost: Cost) -> dict[str, float]:
    """Return the stages that are processor time."""
    return {name: cost.stages.get(name, 0.0) for name in COMPUTING}


def compare(
    before: Machine, rows: int, processes: int, folder: Path
) -> tuple[dict[str, Any], Machine]:
    """Return predicted and measured figures of one search, and the constants after it."""
    plan, _ = mining_plan(before, rows, WIDTHS, processes=processes, max_memory=MEMORY, top_k=TOP_K)
    pairs = [
        sum(visit.work.pairs for visit in simulate(plan, Ranks(rank, processes)))
        for rank in range(processes)
    ]
    measured = measure(folder, processes)
    after = dataclasses.replace(before, mining=measure_mining(Effort()))
    costs = [predict(machine, rows, processes) for machine in (before, after)]
    each_predicted = [sum(computing(cost).values()) for cost in costs]
    predicted = statistics.mean(each_predicted)
    processor = max(each["processor_seconds"] for each in measured)
    peak = max(each["peak_bytes"] for each in measured)
    return {
        "rows": rows,
        "processes": processes,
        "predicted_seconds": predicted,
        "predicted_before_and_after": each_predicted,
        "processor_seconds": processor,
        "predicted_to_processor": predicted / processor,
        "clock_seconds": max(each["seconds"] for each in measured),
        "stages_before_and_after": [computing(cost) for cost in costs],
        "simulated_pair_seconds": sum(simulated_seconds(before, plan, WIDTHS, processes)),
        "pairs": max(pairs),
        "predicted_bytes": costs[0].memory,
        "resident_bytes": max(each["resident_bytes"] for each in measured),
        "peak_bytes": peak,
        "predicted_to_peak": costs[0].memory / peak,
        "load": os.getloadavg()[0],
    }, after


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[25_000, 50_000, 100_000])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--machine", type=Path, help="a calibration that is there already")
    parser.add_argument("--model", help="a model to calibrate, too")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args.folder)
        return
    start = time.perf_counter()
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        machine = (
            open_machine(args.machine) if args.machine else calibrate(folder, model=args.model)
        )
        machine.save(folder / "machine.json")
        report = {
            "command": " ".join(["python -m benchmarks.plan", *sys.argv[1:]]),
            **describe_machine(),
            "calibration_seconds": None if args.machine else time.perf_counter() - start,
            "machine": json.loads((folder / "machine.json").read_text()),
            "runs": runs,
        }
        for rows in args.rows:
            arrays = themed_rows(rows, WIDTHS, SEED)
            for side, array in zip(("image", "text"), arrays, strict=True):
                np.save(folder / f"{side}.npy", array)
            for processes in args.processes:
                run, machine = compare(machine, rows, processes, folder)
                runs.append(run)
                print(json.dumps(runs[-1]), flush=True)
                if args.out:
                    write_json(args.out, report)


if __name__ == "__main__":
    main()
