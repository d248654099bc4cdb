"""Large batches by gradient caching: gradients, peak memory and time against the joined batch.

    python -m benchmarks.accumulation --out benchmarks/results/accumulation.json
    python -m benchmarks.accumulation --device cuda --model ViT-B-32 --micro 256 --pairs 4096 65536

A small CLIP takes one step on random pairs: with all rows in one batch, and in micro-batches as the
trainer does it with ``--accum-freq``. Each runs in a process of its own; memory is the peak above
what the process held before the step. ``joined`` is measured up to ``--most-joined`` pairs, and
``each`` (an evaluation of the loss for each micro-batch, as OpenCLIP does) up to ``--most-each``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import open_clip
import torch

from benchmarks.machine import PeakMemory, describe_machine
from hardpairs.batches import RANDOM, BatchInfo
from hardpairs.core.atomic import write_json
from hardpairs.losses import LOSSES, LossContext, build_loss
from hardpairs.training.dataset import Batch
from hardpairs.training.run_loss import RunLoss

Pairs = tuple[torch.Tensor, torch.Tensor]


def make_model(name: str, device: str) -> torch.nn.Module:
    """Return an OpenCLIP model by name; ``small`` is a CLIP of two layers on 16 x 16 pixels."""
    torch.manual_seed(0)
    if name != "small":
        return open_clip.create_model(name, device=device)
    vision = open_clip.CLIPVisionCfg(layers=2, width=64, head_width=32, patch_size=8, image_size=16)
    text = open_clip.CLIPTextCfg(context_length=8, vocab_size=1000, width=64, heads=2, layers=2)
    return open_clip.CLIP(32, vision, text, output_dict=True).to(device)


def make_pairs(model: Any, count: int, device: str) -> Pairs:
    generator = torch.Generator().manual_seed(1)
    side = model.visual.image_size
    side = side[0] if isinstance(side, tuple) else side
    images = torch.randn(count, 3, side, side, generator=generator)
    length = model.context_length
    return images.to(device), torch.randint(1, 999, (count, length), generator=generator).to(device)


def make_loss(count: int, micro: int, block: int, once: bool) -> RunLoss:
    """Return a run's loss that has taken the micro-batches of a step."""
    config = LOSSES.load("clip_ce").Config(loss_block_rows=block)
    run = RunLoss(build_loss("clip_ce", config, LossContext()), None, accumulate=-(-count // micro))
    for rows in torch.arange(count).split(micro):
        run.take(Batch(None, None, BatchInfo(rows, torch.full((len(rows),), RANDOM), rows)))
    if not once:
        run._joined.fit = lambda inputs: False
    return run


def step(model: Any, run: RunLoss, pairs: Pairs, micro: int) -> None:
    """Take the gradients of a step as OpenCLIP's trainer does."""
    parts = list(zip(*(side.split(micro) for side in pairs), strict=True))
    keys = ("image_features", "text_features")
    known: list[dict[str, torch.Tensor]] = []
    if len(parts) > 1:
        with torch.no_grad():
            known = [model(*part) for part in parts]
    for number, part in enumerate(parts):
        outputs = model(*part)
        whole = {key: value for key, value in outputs.items() if key not in keys}
        joined = {
            key: torch.cat(
                [*(one[key] for one in known[:number]), outputs[key]]
                + [one[key] for one in known[number + 1 :]]
            )
            for key in keys
        }
        sum(run(**joined, **whole, output_dict=True).values()).backward()


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Take one step of ``args.measure``, keep its gradients, and return seconds and peak memory."""
    count, kind = args.pairs[0], args.measure
    micro = count if kind == "joined" else args.micro
    model = make_model(args.model, args.device)
    for pairs in (make_pairs(model, 8, args.device), make_pairs(model, count, args.device)):
        model.zero_grad(set_to_none=True)
        run = make_loss(len(pairs[0]), min(micro, len(pairs[0])), args.block, kind != "each")
        if args.device != "cpu":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        memory, start = PeakMemory(), time.perf_counter()  # the first step loads libraries
        step(model, run, pairs, min(micro, len(pairs[0])))
        if args.device != "cpu":
            torch.cuda.synchronize()
        seconds, gigabytes = time.perf_counter() - start, memory.gigabytes()
        if args.device != "cpu":
            gigabytes = (torch.cuda.max_memory_allocated() - before) / 1e9
    gradients = {name: weight.grad.cpu() for name, weight in model.named_parameters()}
    torch.save(gradients, args.gradients)
    return {"seconds": seconds, "peak_megabytes": 1000 * gigabytes}


def difference(one: Path, other: Path) -> float:
    """Return the largest relative difference of a weight's gradients, by norm."""
    sides = [torch.load(path, weights_only=True) for path in (one, other)]
    return max(float((sides[1][n] - g).norm() / g.norm()) for n, g in sides[0].items())


def in_own_process(args: argparse.Namespace, kind: str, pairs: int, gradients: Path) -> dict:
    words = [sys.executable, "-m", "benchmarks.accumulation", "--measure", kind]
    words += ["--pairs", str(pairs), "--micro", str(args.micro), "--block", str(args.block)]
    words += ["--device", args.device, "--model", args.model, "--gradients", str(gradients)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[256, 1024, 4096, 16384, 32768])
    parser.add_argument("--micro", type=int, default=256, help="pairs of a micro-batch")
    parser.add_argument("--block", type=int, default=64, help="--loss-block-rows")
    parser.add_argument("--most-joined", type=int, default=32768, help="pairs of a joined batch")
    parser.add_argument("--most-each", type=int, default=4096)
    parser.add_argument("--model", default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", choices=("joined", "once", "each"), help=argparse.SUPPRESS)
    parser.add_argument("--gradients", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args)))
        return
    most = {"joined": args.most_joined, "once": max(args.pairs), "each": args.most_each}
    figures: list[dict[str, Any]] = []
    result = {
        "command": " ".join(["python -m benchmarks.accumulation", *sys.argv[1:]]),
        "machine": describe_machine(),
        "model": args.model,
        "micro": args.micro,
        "block_rows": args.block,
        "figures": figures,
    }
    with tempfile.TemporaryDirectory() as folder:
        for pairs in args.pairs:
            figure: dict[str, Any] = {"pairs": pairs, "micro_batches": -(-pairs // args.micro)}
            paths = {kind: Path(folder, kind) for kind in most if pairs <= most[kind]}
            for kind, path in paths.items():
                figure[kind] = in_own_process(args, kind, pairs, path)
            if "joined" in paths:
                figure["gradient_difference"] = difference(paths["joined"], paths["once"])
            figures.append(figure)
            print(json.dumps(figure), flush=True)
            if args.out:
                write_json(args.out, result)


if __name__ == "__main__":
    main()
