"""Everything that one GPU can show, in eight minutes; or in three.

    python -m benchmarks.gpu --out benchmarks/results/gpu.json
    python -m benchmarks.gpu --short --out benchmarks/results/gpu.json

Steps, the most important first: the tests that need a GPU (lists and scores equal to the CPU's,
losses equal to their references); mining of CC3M's size; a million pairs with all rows on the
device and with 3 GB of it, while the others wait on the host; brute-force peers; losses beside ClipLoss,
with and without Triton kernels, the sigmoid loss beside what siglip-kernel claims; embedding beside
its own encoder. Each has a limit; together they stay below the time. The file is
written after each step, so a machine that is taken away leaves what it has measured.

Exit codes: 2 without a GPU, 1 when a step failed or took longer than its limit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from hardpairs.core.atomic import write_json
from hardpairs.core.errors import Exit

END = 4000
"""Characters of a step's output that are kept."""


@dataclass(frozen=True)
class Step:
    """A command that measures or checks something.

    Attributes:
        name: What it is about.
        words: Words after ``python -m``; ``OUT`` stands for the JSON file that it writes.
        limit: Seconds after which it is ended.
    """

    name: str
    words: tuple[str, ...]
    limit: int


def step(name: str, limit: int, line: str) -> Step:
    """Return a step from its command line."""
    return Step(name, tuple(line.split()), limit)


FULL = (
    step("tests", 100, "pytest -q -m gpu tests/mining tests/losses"),
    step("mining", 150, "benchmarks.mining_gpu --pairs 2900000 --out OUT"),
    step("streamed", 40, "benchmarks.mining_gpu --pairs 1000000 --max-device-memory 3G --out OUT"),
    step("peers", 60, "benchmarks.mining_peers --pairs 2900000 --targets 16384 --out OUT"),
    step("losses", 80, "benchmarks.losses --device cuda --huge 65536 --out OUT"),
    step("embedding", 50, "benchmarks.embed --device cuda --pairs 4000 --sides 256 --out OUT"),
)
"""Together at most eight minutes."""
SHORT = (
    step("tests", 60, "pytest -q -x -m gpu tests/mining/engine"),
    step("mining", 80, "benchmarks.mining_gpu --pairs 1000000 --sample 50 --out OUT"),
    step("peers", 40, "benchmarks.mining_peers --pairs 1000000 --targets 8192 --out OUT"),
)
"""Together at most three minutes."""


def run_step(one: Step) -> dict[str, Any]:
    """Run a step and return what came of it.

    Returns:
        ``command``, ``seconds``, ``ended`` (``well``, ``failed`` or ``limit``), the end of its
        output, and as ``result`` what it wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        words = [str(out) if word == "OUT" else word for word in one.words]
        started = time.perf_counter()
        try:
            done = subprocess.run(
                [sys.executable, "-m", *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=one.limit,
                check=False,
            )
            ended, output = "failed" if done.returncode else "well", done.stdout
        except subprocess.TimeoutExpired as error:
            ended, output = "limit", error.stdout or b""
        return {
            "command": " ".join(["python -m", *one.words]),
            "seconds": round(time.perf_counter() - started, 1),
            "ended": ended,
            "output": output.decode(errors="replace")[-END:],
            "result": json.loads(out.read_text()) if out.is_file() else None,
        }


def run_steps(steps: Sequence[Step], keep: Callable[[dict[str, Any]], None]) -> bool:
    """Run steps in order and keep all results after each; return whether all ended well.

    Args:
        steps: The steps.
        keep: Is given the results so far by name.
    """
    results: dict[str, Any] = {}
    for one in steps:
        print(f"{one.name}: at most {one.limit} s", file=sys.stderr, flush=True)
        results[one.name] = run_step(one)
        print(f"{one.name}: {results[one.name]['ended']}", file=sys.stderr, flush=True)
        keep(results)
    return all(result["ended"] == "well" for result in results.values())


def main() -> int:
    """Run the steps and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="three minutes instead of eight")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print(
            "error: no GPU\n"
            f"  where: torch {torch.__version__} sees no CUDA device\n"
            "  fix: run it on a machine with one; the CPU's figures come from benchmarks.mining, "
            "benchmarks.losses and benchmarks.embed",
            file=sys.stderr,
        )
        return Exit.USAGE
    about = {
        "command": " ".join(["python -m benchmarks.gpu", *sys.argv[1:]]),
        "machine": {**describe_machine(), "gpu": torch.cuda.get_device_name()},
    }
    steps = SHORT if args.short else FULL
    well = run_steps(steps, lambda results: write_json(args.out, {**about, "steps": results}))
    return Exit.OK if well else Exit.UNEXPECTED


if __name__ == "__main__":
    sys.exit(main())
