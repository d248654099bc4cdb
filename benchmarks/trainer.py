"""What the patches cost a plain run: step time of the patched trainer against the installed one,
without flags of ours.

    python -m benchmarks.trainer --out benchmarks/results/trainer.json

Ten interleaved pairs of runs on synthetic pictures; the median of a run's steps, and the median of
the ten ratios.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import describe_machine
from hardpairs.core.atomic import write_json

ROOT = Path(__file__).resolve().parent.parent
MODULES = {"installed": "open_clip_train.main", "patched": "training.main"}
FLAGS = (
    "--dataset-type",
    "synthetic",
    "--batch-size",
    "8",
    "--epochs",
    "1",
    "--workers",
    "0",
    "--device",
    "cpu",
    "--precision",
    "fp32",
    "--log-every-n-steps",
    "1",
)


def step_seconds(side: str, model: str, steps: int) -> float:
    """Median seconds of a step; the first two are left out."""
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # also the working folder, so that "installed" cannot find the patched tree
        command = (
            sys.executable,
            "-m",
            MODULES[side],
            "--model",
            model,
            "--train-num-samples",
            str(8 * steps),
            *FLAGS,
            "--logs",
            folder,
            "--name",
            "run",
        )
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr[-2000:])
        log = (Path(folder) / "run/out.log").read_text()
    times = [float(time) for time in re.findall(r"Batch \(t\): ([0-9.]+)", log)]
    return statistics.median(times[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-S-32-alt")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    rounds = []
    for number in range(args.pairs):
        order = list(MODULES) if number % 2 == 0 else list(reversed(MODULES))
        seconds = {side: step_seconds(side, args.model, args.steps) for side in order}
        rounds.append(seconds["patched"] / seconds["installed"])
        print(
            f"installed {seconds['installed']:.3f} s, patched {seconds['patched']:.3f} s, ratio {rounds[-1]:.3f}",
            flush=True,
        )
    ratio = statistics.median(rounds)
    print(f"median ratio of step times, patched to installed: {ratio:.3f}")
    write_json(
        args.out,
        {
            "command": " ".join(["python -m benchmarks.trainer", *sys.argv[1:]]),
            "machine": describe_machine(),
            "model": args.model,
            "ratios": rounds,
            "median_ratio": ratio,
        },
    )


if __name__ == "__main__":
    main()
