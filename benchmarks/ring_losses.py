"""Losses of a batch on eight processes, in a ring and with gathered columns, against one process.

    python -m benchmarks.ring_losses --out benchmarks/results/ring_losses.json
    python -m benchmarks.ring_losses --cases clip_ce:4096x32 --out /tmp/look.json

Each process makes its own rows, on one thread. It measures its peak memory above what it has before
forward and backward. Loss and gradients are compared with those of one process that has all rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F

from benchmarks.machine import PeakMemory, describe_machine
from hardpairs.core.atomic import write_json
from hardpairs.losses import ContrastiveLoss, SigmoidLoss, SimilarityWeights, World

BLOCK_ROWS = 256
NORMALIZED = SimilarityWeights(delta=0.0, normalize=True)

LOSSES: dict[str, Callable[[World], torch.nn.Module]] = {
    "clip_ce": lambda world: ContrastiveLoss(world=world, block_rows=BLOCK_ROWS),
    "sanw_debias": lambda world: ContrastiveLoss(
        weights=NORMALIZED, world=world, block_rows=BLOCK_ROWS
    ),
    "siglip": lambda world: SigmoidLoss(world=world, block_rows=BLOCK_ROWS),
}

CASES = [
    "clip_ce:65536x32",
    *("clip_ce:16384x32", "sanw_debias:16384x32", "siglip:16384x32", "clip_ce:16384x512"),
]


def features(share: int, count: int, width: int) -> list[torch.Tensor]:
    """Images and texts of one share of the batch: pairs that resemble each other."""
    generator = torch.Generator().manual_seed(share)
    text, noise = torch.randn(2, count, width, generator=generator)
    return [F.normalize(side, dim=1) for side in (text + noise, text)]


def one(folder: Path, how: str, name: str, pairs: int, width: int, processes: int) -> None:
    """Measure in this process, which may be one of several."""
    world, shares = World(), range(processes)
    if how != "one":
        dist.init_process_group("gloo")
        rank = dist.get_rank()
        world, shares = World(rank, processes, ring=how == "ring"), range(rank, rank + 1)
    each = [features(share, pairs // processes, width) for share in shares]
    image, text = (torch.cat(side).requires_grad_() for side in zip(*each, strict=True))
    scale, bias = (torch.tensor(value, requires_grad=True) for value in (14.3, -10.0))
    loss = LOSSES[name](world)
    step(loss, [side[:64].detach().requires_grad_() for side in (image, text)], scale, bias)
    scale.grad = None
    if how != "one":
        dist.barrier()
    memory, start = PeakMemory(), time.perf_counter()
    value = step(loss, [image, text], scale, bias)
    measured = {
        "seconds": time.perf_counter() - start,
        "gigabytes": memory.gigabytes(),
        "loss": value,
        "scale": scale.grad.item(),
    }
    gradients = [side.grad.numpy() / world.world_size for side in (image, text)]
    for share, *parts in zip(shares, *(np.split(g, len(shares)) for g in gradients), strict=True):
        np.save(folder / f"{how}{share}.npy", np.stack(parts))
    (folder / f"{how}{world.rank}.json").write_text(json.dumps(measured))
    if how != "one":
        dist.destroy_process_group()


def step(
    loss: torch.nn.Module, sides: list[torch.Tensor], scale: torch.Tensor, bias: torch.Tensor
) -> float:
    """Forward and backward of a loss; return its value."""
    value = loss(*sides, scale, bias if isinstance(loss, SigmoidLoss) else None)
    value.backward()
    return value.item()


def measure(folder: Path, how: str, processes: int, *arguments: str) -> list[dict[str, Any]]:
    """Return what each process measured, now or before."""
    parts = [folder / f"{how}{rank}.json" for rank in range(processes if how != "one" else 1)]
    if not all(part.exists() for part in parts):
        launch(folder, how, processes, *arguments)
    return [json.loads(part.read_text()) for part in parts]


def launch(folder: Path, how: str, processes: int, *arguments: str) -> None:
    """Measure in processes of their own."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = ["-m", "benchmarks.ring_losses", "--one", how, "--folder", str(folder), *arguments]
    line = [sys.executable, *(launcher if how != "one" else []), *command]
    done = subprocess.run(
        line, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr[-2000:])


def compare(folder: Path, processes: int, runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return times and memory of each way, and relative differences from one process."""
    found: dict[str, Any] = {}
    (right,) = runs["one"]
    for how, measured in runs.items():
        found[how] = {
            "seconds": max(process["seconds"] for process in measured),
            "largest_peak_gigabytes": max(process["gigabytes"] for process in measured),
        }
        if how == "one":
            continue
        off, size = np.zeros(2), np.zeros(2)
        for share in range(processes):
            ours, theirs = (np.load(folder / f"{w}{share}.npy").astype("f8") for w in (how, "one"))
            off += ((ours - theirs) ** 2).sum((1, 2))
            size += (theirs**2).sum((1, 2))
        image, text = (off / size) ** 0.5
        mean = {key: np.mean([p[key] for p in measured]) for key in ("loss", "scale")}
        found[how]["relative_difference"] = {
            "image": image,
            "text": text,
            **{key: abs(value / right[key] - 1) for key, value in mean.items()},
        }
    return found


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=CASES, help="LOSS:PAIRSxWIDTH")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", choices=("one", "ring", "gathered"), help=argparse.SUPPRESS)
    parser.add_argument(
        "--ways", nargs="+", default=["one", "gathered", "ring"], help="one is needed"
    )
    parser.add_argument("--folder", type=Path, help="keeps what was measured, and goes on with it")
    args = parser.parse_args()
    if args.one:
        name, _, size = args.cases[0].partition(":")
        one(args.folder, args.one, name, *map(int, size.split("x")), args.processes)
        return
    report: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.ring_losses", *sys.argv[1:]]),
        **describe_machine(),
        "processes": args.processes,
        "block_rows": BLOCK_ROWS,
        "cases": {},
    }
    for case in args.cases:
        more = ("--cases", case, "--processes", str(args.processes))
        with tempfile.TemporaryDirectory() as temporary:
            folder = (args.folder or Path(temporary)) / case.replace(":", "_")
            folder.mkdir(parents=True, exist_ok=True)
            runs = {way: measure(folder, way, args.processes, *more) for way in args.ways}
            report["cases"][case] = compare(folder, args.processes, runs)
        print(case, json.dumps(report["cases"][case], indent=1), flush=True)
        if args.out:
            write_json(args.out, report)


if __name__ == "__main__":
    main()
