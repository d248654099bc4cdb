"""Processor time of mining, batches, losses and linkage, against a checkout of an earlier version.

    git worktree add ../before 0e16016    # the last commit before everything moved into one package
    python -m benchmarks.rebuild --before ../before --out benchmarks/results/rebuild.json

Each piece of work runs in a process of its own, in turns with the earlier code; a figure is the median
of the turns' ratios of processor time, above 1 where this code takes longer. Results must be equal.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
ROWS, BATCH, STEPS = 10_000, 2048, 200


def themed(rows: int, width: int, seed: int) -> np.ndarray:
    """Return rows of 100 themes."""
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(100, width))[np.arange(rows) % 100] + rng.normal(size=(rows, width))
    ) / 2


def named(now: str, before: str) -> Any:
    """Return something of the checkout that is first on the path, by its name now or before."""
    checkout = Path(os.environ["PYTHONPATH"].split(os.pathsep)[0])
    module, _, attribute = (now if (checkout / "hardpairs").is_dir() else before).rpartition(".")
    found = importlib.import_module(module)
    assert Path(found.__file__ or "").is_relative_to(checkout.parent)
    return getattr(found, attribute)


def mining() -> Callable[[], np.ndarray]:
    hard_pairs = named("hardpairs.mining.api.hard_pairs", "mining.search.hard_pairs")
    sides = [themed(ROWS, width, width).astype(np.float32) for width in (384, 768)]
    hard_pairs(*(side[:600] for side in sides), top_k=50)  # loads the compiled loops
    return lambda: hard_pairs(*sides, top_k=50)[0]


def batches() -> Callable[[], np.ndarray]:
    name = "HardPairBatchSampler"
    sampler = named(f"hardpairs.batches.{name}", f"training.batching.hard_pairs.{name}")
    rows = 1_000_000
    lists = np.random.default_rng(0).integers(0, rows, (rows, 50), np.int32)
    table = SimpleNamespace(indices=lists, lengths=np.full(rows, 50, np.int32))
    made = sampler(rows, table, batch_size=BATCH)
    return lambda: np.concatenate([made.batch(number) for number in range(STEPS)])


def losses(name: str, **options: Any) -> Callable[[], np.ndarray]:
    import torch

    loss = named(f"hardpairs.losses.{name}", f"training.losses.{name}")(block_rows=512, **options)
    rows = torch.randn(2, BATCH, 512, generator=torch.Generator().manual_seed(0))
    scale = torch.tensor(14.3)

    def steps() -> np.ndarray:
        for _ in range(10):
            sides = [
                side.clone().requires_grad_() for side in torch.nn.functional.normalize(rows, dim=2)
            ]
            value = loss(*sides, scale)
            value.backward()
        return value.detach().numpy()

    steps()
    return steps


def linkage() -> Callable[[], np.ndarray]:
    tree_of, best = (
        named(f"hardpairs.metrics.linkage.{name}", f"evaluation.linkage.{name}")
        for name in ("single_linkage", "best_threshold")
    )
    rows, labels = themed(8000, 256, 0), np.arange(8000) % 100
    tree_of(rows[:600])
    return lambda: np.array(best(tree_of(rows), labels))


PARTS: dict[str, Callable[[], Callable[[], np.ndarray]]] = {
    "mining": mining,
    "batches of hard pairs": batches,
    "clip_ce": lambda: losses("ContrastiveLoss"),
    "sanw_debias": lambda: losses("SANWLoss"),
    "linkage": linkage,
}


def one(part: str, out: Path) -> None:
    """Print the processor time of a piece of work, and save its result."""
    sys.path.remove(str(Path(__file__).parent))  # its modules have the names of packages
    work = PARTS[part]()
    start = time.process_time()
    result = work()
    print(time.process_time() - start)
    np.save(out, result)


def measured(part: str, root: Path, out: Path) -> tuple[float, np.ndarray]:
    """Return the processor time of a piece of work by the code of a checkout, and its result."""
    path = os.pathsep.join(map(str, (root / "src", root)))
    line = [sys.executable, str(Path(__file__).resolve()), "--one", part, "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1]), np.load(out)


def compare(part: str, before: Path, out: Path, turns: int) -> dict[str, Any]:
    """Return the seconds of both, and the median ratio."""
    seconds: dict[str, list[float]] = {"before": [], "now": []}
    roots = {"before": before.resolve(), "now": ROOT}
    for turn in range(turns):
        results = {}
        for name in sorted(roots, reverse=turn % 2 == 1):
            spent, results[name] = measured(part, roots[name], out)
            seconds[name].append(spent)
        np.testing.assert_allclose(results["now"], results["before"], rtol=1e-5)
    ratios = [now / old for now, old in zip(seconds["now"], seconds["before"], strict=True)]
    return {"now_to_before": statistics.median(ratios), "ratios": ratios, **seconds}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="a checkout of the earlier version")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=[*PARTS])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        return one(args.one, args.out)
    if not (args.before and (args.before / "src/training").is_dir()):
        parser.error(f"--before names no checkout of the earlier version: {args.before}")
    from benchmarks.machine import describe_machine  # this checkout's, as the rest of the command
    from hardpairs.core.atomic import write_json

    record: dict[str, Any] = {
        "command": f"python -m benchmarks.rebuild --before BEFORE --out {args.out}"
    }
    record |= {"machine": describe_machine(), "parts": {}}
    for part in args.only:
        record["parts"][part] = compare(part, args.before, args.out.with_suffix(".npy"), args.turns)
        print(part, json.dumps(record["parts"][part]), flush=True)
        write_json(args.out, record)
    args.out.with_suffix(".npy").unlink()


if __name__ == "__main__":
    main()
