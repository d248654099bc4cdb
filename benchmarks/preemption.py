"""What a preemption costs a run: it is stopped by SIGTERM again and again, and goes on.

    python -m benchmarks.preemption --out benchmarks/results/preemption.json

A model is trained as users do, once as it is and once stopped at ``--stops`` of its steps, in turns.
``stop_s`` is how long a run takes to end after the signal, the rest of its step included;
``lost_s`` are those of them that follow its last step, and ``repeated`` the steps that the
next start does again. ``slower_s`` compares the whole runs, without what a restart takes, to the end
of its first step: how many seconds more a stop takes, by the clock and of the processor. So a stop
costs less than 0.5 % of a run of ``run_s`` seconds.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import describe_machine
from hardpairs.core.atomic import write_json
from hardpairs.core.errors import Exit

RUN_SHARE = 0.005
"""What a stop may cost of a run."""
IMAGES, SIDE = 64, 224
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Moment:
    """When something was seen, by the clock and in seconds that the processor worked for the run."""

    clock: float
    processor: float

    def since(self, other: Moment) -> tuple[float, float]:
        """Return the seconds from another moment to this one."""
        return self.clock - other.clock, self.processor - other.processor


@dataclass(frozen=True)
class Start:
    """One start of a run, observed to its end.

    Attributes:
        steps: The steps that it took.
        seen: When each of them was there.
        end: When it had ended.
        signaled: When it got the signal; ``None``: it got none.
        megabytes: Size of the state that it left.
    """

    steps: list[int]
    seen: list[Moment]
    end: Moment
    signaled: float | None
    megabytes: int


def make_data(folder: Path, rows: int) -> Path:
    """Write a table of noisy pictures."""
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        pixels = rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")
    with open(folder / "pairs.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "title"])
        writer.writerows((f"{row % IMAGES}.jpg", f"picture {row}") for row in range(rows))
    return folder / "pairs.csv"


def watch(flags: list[str], run: Path, stop_after: float) -> Start:
    """Start a run, or go on with it, and look at it until it ends.

    Args:
        flags: The trainer's.
        run: Folder of the run.
        stop_after: Steps of the run, and the share of one, after which it gets the signal.
    """
    metrics = run / "metrics.csv"
    before = steps_of(metrics)
    command = [sys.executable, "-m", "hardpairs.cli", "train", *flags, "--resume", "latest"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    told = b""
    seen: list[Moment] = []
    signaled, signal_at = None, math.inf
    now = Moment(time.monotonic(), 0.0)
    size = metrics.stat().st_size if before else 0
    while process.poll() is None:
        told = (told + (process.stderr.read() or b""))[-3000:]
        now = Moment(time.monotonic(), processor_seconds(process.pid, now.processor))
        if metrics.exists() and metrics.stat().st_size != size:
            size = metrics.stat().st_size
            if len(steps_of(metrics)) > len(before) + len(seen):
                seen.append(now)
                at_step = len(before) + len(seen) == stop_after // 1
                if at_step and len(seen) > 1:
                    step = seen[-1].clock - seen[-2].clock
                    signal_at = now.clock + step * (stop_after % 1)
        if signaled is None and now.clock >= signal_at:
            process.send_signal(signal.SIGTERM)
            signaled = now.clock
        time.sleep(0.01)
    expected = Exit.OK if signaled is None else Exit.PREEMPTED
    assert process.returncode == expected, told.decode(errors="replace")
    end = Moment(time.monotonic(), now.processor)
    states = [path.stat().st_size for path in run.glob("checkpoints/*.pt")]
    return Start(steps_of(metrics)[len(before) :], seen, end, signaled, max(states) // 10**6)


def steps_of(metrics: Path) -> list[int]:
    """Return the steps in a run's metrics."""
    if not metrics.exists():
        return []
    with open(metrics, newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file) if row["step"]]


def processor_seconds(pid: int, before: float) -> float:
    """Return the seconds that the processor has worked for a process, or those known before."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return before
    return max(before, (int(fields[11]) + int(fields[12])) / TICKS)


def train(flags: list[str], logs: Path, name: str, stops: list[float]) -> list[Start]:
    """Train a run to its end, with stops.

    Args:
        flags: The trainer's.
        logs: Folder of runs.
        name: Of the run.
        stops: Steps, and the share of one, after which it is stopped.
    """
    flags = [*flags, "--logs", str(logs), "--name", name]
    return [watch(flags, logs / name, stop) for stop in (*stops, math.inf)]


def spent(starts: list[Start], step: tuple[float, float]) -> tuple[float, float]:
    """Return the seconds of a run without those to the end of the first step of a start.

    Args:
        starts: Of the run.
        step: What a step takes, which counts in place of each first one after a stop.
    """
    parts = [start.end.since(start.seen[0]) for start in starts]
    more = len(starts) - 1
    return (
        sum(part[0] for part in parts) + more * step[0],
        sum(part[1] for part in parts) + more * step[1],
    )


def step_of(start: Start) -> tuple[float, float]:
    """Return the median seconds of a step."""
    pairs = zip(start.seen[1:], start.seen, strict=False)
    clock, processor = zip(*(later.since(one) for later, one in pairs), strict=True)
    return statistics.median(clock), statistics.mean(processor)


def measure(model: str, batch_size: int, steps: int, stops: int, turns: int) -> dict[str, Any]:
    """Return the measurements of runs with and without stops, one after the other.

    Args:
        model: A model of OpenCLIP or ours.
        batch_size: Pairs of a step.
        steps: Of a run.
        stops: Of a run.
        turns: Runs of each kind.
    """
    stopped: list[Start] = []
    slower: list[tuple[float, float]] = []
    plain: list[tuple[float, float]] = []
    part = steps / (stops + 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        flags = f"--csv-separator , --model {model} --device cpu --precision fp32 --workers 1 "
        flags += f"--batching random --epochs 1 --warmup 1 --batch-size {batch_size} "
        flags += "--log-every-n-steps 1 --lr 1e-5"
        table = make_data(folder, steps * batch_size)
        words = ["--train-data", str(table), *flags.split()]
        for turn in range(turns):
            (whole,) = train(words, folder / "logs", f"whole{turn}", [])
            at = [part * (number + 1) + (number + 0.5) / stops % 1 for number in range(stops)]
            starts = train(words, folder / "logs", f"stopped{turn}", at)
            step = step_of(whole)
            one, other = spent([whole], step), spent(starts, step)
            plain.append(step)
            slower.append(((other[0] - one[0]) / stops, (other[1] - one[1]) / stops))
            stopped += starts[:-1]
            taken = [number for start in starts for number in start.steps]
            assert {*taken} == {*whole.steps}
            repeated = len(taken) - len(whole.steps)
            print(f"turn {turn}: {slower[-1]} s a stop, {repeated} steps again", file=sys.stderr)
    lost = [start.end.clock - start.seen[-1].clock for start in stopped]
    return {
        "model": model,
        "batch_size": batch_size,
        "steps": steps,
        "stops": stops,
        "turns": turns,
        "step_s": [round(clock, 3) for clock, _ in plain],
        "megabytes": max(start.megabytes for start in stopped),
        "stop_s": [round(start.end.clock - (start.signaled or 0), 2) for start in stopped],
        "lost_s": [round(seconds, 2) for seconds in lost],
        "repeated": repeated,
        "slower_s": [round(clock, 2) for clock, _ in slower],
        "slower_processor_s": [round(processor, 2) for _, processor in slower],
        "run_s": math.ceil(statistics.median(lost) / RUN_SHARE),
    }


def main() -> None:
    """Measure, print and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="ViT-S-32")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--stops", type=int, default=4)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--out")
    args = vars(parser.parse_args())
    out = args.pop("out")
    numbers = measure(**args)
    print("\n".join(f"{name:<20} {value}" for name, value in numbers.items()))
    if out:
        write_json(out, {"machine": describe_machine(), **numbers})


if __name__ == "__main__":
    main()
