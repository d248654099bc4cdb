"""Time and memory of our losses against OpenCLIP's ClipLoss, forward and backward, in one run.

    python -m benchmarks.losses --out benchmarks/results/losses.json

Each loss and its peer run alternately; a figure is the median of the rounds' ratios. Memory is the
peak of a process of its own above what it held before the loss was called.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import open_clip
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss, SigLipLoss

from benchmarks.machine import describe_machine
from hardpairs.batches import BatchInfo
from hardpairs.core.atomic import write_json
from hardpairs.losses import (
    ContrastiveLoss,
    GlobalLoss,
    HardNegativeMarginLoss,
    SANWLoss,
    SigmoidLoss,
    SimilarityWeights,
    TrainingLoss,
)
from hardpairs.losses.guide import GuideRule
from hardpairs.losses.kernels import KERNELS
from hardpairs.losses.targets import Blend

WIDTH = 512
HUGE_WIDTH = 768
"""Of the largest batches, as in ``CLAIM``."""
CLAIM = {"loss": "siglip-kernel 0.1.2", "gpu": "GH200", "pairs": 65_536, "seconds": 0.0469}
"""What its authors measured of its multi-positive sigmoid loss on bfloat16 features."""
ROWS = 100_000
"""Rows of the data, for losses that keep something of each."""


def with_margin() -> TrainingLoss:
    return TrainingLoss(SANWLoss(), {HardNegativeMarginLoss(): 0.3})


class WithInfo(torch.nn.Module):
    """A loss with what a batch says of its rows: groups of two, and stored features."""

    def __init__(self, block: int | None, **options: Any) -> None:
        super().__init__()
        self.loss, self.info = ContrastiveLoss(block_rows=block, **options), BatchInfo()

    def forward(self, image: torch.Tensor, text: torch.Tensor, *more: Any) -> torch.Tensor:
        if len(self.info) != len(image):
            rows = torch.arange(len(image), device=image.device)
            stored = tuple(side.detach() for side in features(len(image), str(image.device)))
            self.info = BatchInfo(
                group_ids=(rows // 2)[:, None], guide_features=stored, start_features=stored
            )
        return self.loss(image, text, *more, info=self.info)


class PositiveGroups(SigmoidLoss):
    """The sigmoid loss with groups of two, whose rows are positives of each other."""

    def forward(self, image: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        ids = torch.arange(len(image), device=image.device)[:, None] // 2
        return super().forward(image, *more, info=BatchInfo(group_ids=ids))


LOSSES: dict[str, Callable[[int | None], torch.nn.Module]] = {
    "ClipLoss (OpenCLIP)": lambda block: ClipLoss(),
    "clip_ce": lambda block: ContrastiveLoss(block_rows=block),
    "clip_ce + memory of 1": lambda block: ContrastiveLoss(block_rows=block, memory_batches=1),
    "global": lambda block: GlobalLoss(ROWS, block_rows=block),
    "sanw_debias": lambda block: SANWLoss(block_rows=block),
    "sanw_debias normalised": lambda block: SANWLoss(normalize=True, block_rows=block),
    "sanw_bandpass": lambda block: SANWLoss("bandpass", block_rows=block),
    "sanw_debias + margin": lambda block: with_margin(),
    "masked groups": WithInfo,
    "multi-positive": lambda block: WithInfo(block, multi_positive=True),
    "guided mask": lambda block: WithInfo(block, guide=GuideRule()),
    "hardness weight": lambda block: ContrastiveLoss(hardness=9.0, block_rows=block),
    "blended targets": lambda block: WithInfo(block, blend=Blend()),
    "SigLipLoss (OpenCLIP)": lambda block: SigLipLoss(),
    "siglip": lambda block: SigmoidLoss(block_rows=block),
    "siglip + bandpass": lambda block: SigmoidLoss(
        weights=SimilarityWeights("bandpass"), block_rows=block
    ),
}
PEERS = {
    name: "SigLipLoss (OpenCLIP)" if "siglip" in name.lower() else "ClipLoss (OpenCLIP)"
    for name in LOSSES
}


def features(batch: int, device: str, width: int = WIDTH) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sides = [F.normalize(torch.randn(batch, width, generator=generator), dim=1) for _ in range(2)]
    return tuple(side.to(device).requires_grad_() for side in sides)


def step(loss: torch.nn.Module, batch: int, sides: tuple[torch.Tensor, torch.Tensor]) -> None:
    """One forward and backward."""
    arguments = [torch.tensor(14.3, device=sides[0].device, requires_grad=True)]
    if isinstance(loss, SigLipLoss | SigmoidLoss | SigLIPKernel):
        arguments.append(torch.tensor(-10.0, device=sides[0].device))
    for side in sides:
        side.grad = None
    more = {}
    if isinstance(loss, GlobalLoss) or getattr(loss, "memory", None) is not None:
        more = {"info": BatchInfo(rows=torch.arange(batch, device=sides[0].device))}
    loss(*sides, *arguments, **more).backward()
    if more:
        loss.end_step()


def seconds(loss: torch.nn.Module, batch: int, sides: tuple[torch.Tensor, torch.Tensor]) -> float:
    if sides[0].is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    step(loss, batch, sides)
    if sides[0].is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def ratios(
    batch: int, rounds: int, block: int | None, device: str, names: list[str]
) -> dict[str, dict[str, float]]:
    """Of each loss the median seconds, and the median ratio to its peer timed beside it in every
    round.
    """
    sides = features(batch, device)
    losses = {name: LOSSES[name](block) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    shares: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name in names:
            peer, own = (
                seconds(LOSSES[PEERS[name]](None), batch, sides),
                seconds(losses[name], batch, sides),
            )
            if number:  # the first round warms up
                times[name].append(own)
                shares[name].append(own / peer)
    return {
        name: {
            "seconds": statistics.median(times[name]),
            "ratio_to_peer": statistics.median(shares[name]),
        }
        for name in names
    }


def training_step(pairs: int, rounds: int, device: str) -> dict[str, float]:
    """Median ratio of a ViT-B-32's forward and backward with SANW to the same with ClipLoss."""
    model = open_clip.create_model("ViT-B-32", device=device)
    images, texts = (
        torch.randn(pairs, 3, 224, 224, device=device),
        torch.randint(1, 49000, (pairs, 77), device=device),
    )
    losses, shares = {"plain": ClipLoss(), "sanw": SANWLoss("bandpass")}, []
    for number in range(rounds + 1):
        times = {}
        for name in list(losses) if number % 2 else reversed(list(losses)):
            start = time.perf_counter()
            losses[name](*model(images, texts)).backward()
            if device == "cuda":
                torch.cuda.synchronize()
            times[name] = time.perf_counter() - start
        if number:
            shares.append(times["sanw"] / times["plain"])
    return {"pairs": pairs, "ratio": statistics.median(shares), "seconds_plain": times["plain"]}


def peak_mebibytes(name: str, batch: int, block: int | None, device: str) -> float:
    """Peak memory of one forward and backward above what stands before it, in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.losses",
        "--measure",
        name,
        "--batch",
        str(batch),
        "--device",
        device,
    ]
    done = subprocess.run(
        [*command, *(("--block", str(block)) if block else ())],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, batch: int, block: int | None, device: str) -> float:
    sides, loss = features(batch, device), LOSSES[name](block)
    step(
        LOSSES[name](block), 8, features(8, device)
    )  # libraries load and allocate on their first call
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(loss, batch, sides)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text(
        "5"
    )  # the peak starts anew; getrusage's would be the parent's too
    before = resident_peak()
    step(loss, batch, sides)
    return (resident_peak() - before) / 2**10


def resident_peak() -> int:
    """Peak resident memory of this process in KiB."""
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    return int(line.split()[1])


def inf_cl() -> Callable[..., torch.Tensor] | None:
    """Inf-CL's kernels (arXiv 2410.17243) for both ways' cross entropy, where its package is
    installed (pip install inf-cl).
    """
    try:
        from inf_cl import cal_flash_loss
    except ImportError:
        return None

    def both_ways(image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return (
            cal_flash_loss(image, text, scale=scale).mean()
            + cal_flash_loss(text, image, scale=scale).mean()
        ) / 2

    return both_ways


class SigLIPKernel(torch.nn.Module):
    """The kernels of siglip-kernel, where its package is installed (pip install siglip-kernel)."""

    def __init__(self) -> None:
        super().__init__()
        from siglip_kernel import fused_siglip_loss

        self.loss = fused_siglip_loss

    def forward(
        self, image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        return self.loss(image, text, scale.log(), bias)


def siglip_kernel() -> SigLIPKernel | None:
    try:
        return SigLIPKernel()
    except ImportError:
        return None


def huge_losses(block: int, device: str) -> dict[str, tuple[bool, Callable[..., torch.Tensor]]]:
    """Losses for the largest batches, and whether our Triton kernels are asked for."""
    ours = {
        "clip_ce": ContrastiveLoss(block_rows=block),
        "sanw_debias": SANWLoss(block_rows=block),
        "sanw_bandpass": SANWLoss("bandpass", block_rows=block),
        "siglip": SigmoidLoss(block_rows=block),
        "siglip multi-positive": PositiveGroups(multi_positive=True, block_rows=block),
    }
    losses: dict[str, Any] = {name: (False, loss) for name, loss in ours.items()}
    if device == "cuda":
        with_kernels = ("clip_ce", "siglip", "siglip multi-positive")
        losses |= {f"{name}, kernels": (True, ours[name]) for name in with_kernels}
        peers = {"Inf-CL": inf_cl(), "siglip-kernel": siglip_kernel()}
        losses |= {name: (False, loss) for name, loss in peers.items() if loss is not None}
    return losses


def huge(sizes: list[int], block: int, device: str) -> list[dict[str, str | int | float]]:
    """Seconds, and on a GPU peak memory, of one forward and backward on bfloat16 features, for
    global batches on one device.
    """
    figures: list[dict[str, str | int | float]] = []
    for size in sizes:
        made = features(size, device, HUGE_WIDTH)
        sides = tuple(side.detach().bfloat16().requires_grad_() for side in made)
        for name, (kernels, loss) in huge_losses(block, device).items():
            figure: dict[str, str | int | float] = {"pairs": size, "loss": name}
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            with mock.patch.dict(os.environ, {KERNELS: str(int(kernels))}):
                figure["seconds"] = min(seconds(loss, size, sides) for _ in range(2))
            if device == "cuda":
                figure["peak_mib"] = torch.cuda.max_memory_allocated() / 2**20
            figures.append(figure)
            print(json.dumps(figure), flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=4096, help="pairs, for times")
    parser.add_argument(
        "--large", type=int, default=16384, help="pairs, for blocks: memory and times"
    )
    parser.add_argument(
        "--step-pairs",
        type=int,
        default=16,
        help="pairs, for the whole training step of a ViT-B-32",
    )
    parser.add_argument(
        "--block", type=int, help="rows of a block in the large batch (default 1024)"
    )
    parser.add_argument(
        "--huge",
        type=int,
        nargs="*",
        help="pairs, for bfloat16 features in blocks, such as 32768 262144 1048576 on one GPU",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", choices=LOSSES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure, args.batch, args.block, args.device)))
        return
    result = {
        "command": " ".join(["python -m benchmarks.losses", *sys.argv[1:]]),
        "machine": describe_machine(),
        "width": WIDTH,
    }
    result["batch"] = {
        "pairs": args.batch,
        "losses": ratios(args.batch, args.rounds, None, args.device, list(LOSSES)),
    }
    print(json.dumps(result["batch"], indent=1), flush=True)
    result["vit_b_32_step"] = training_step(args.step_pairs, args.rounds, args.device)
    block = args.block or 1024
    blocked = ["clip_ce", "sanw_debias", "sanw_debias normalised", "siglip"]
    large = ratios(args.large, 1, block, args.device, blocked)
    for name in blocked:
        peer = peak_mebibytes(PEERS[name], args.large, None, args.device)
        large[name]["peak_mib"] = peak_mebibytes(name, args.large, block, args.device)
        large[name]["peak_ratio_to_peer"] = large[name]["peak_mib"] / peer
    result["large"] = {"pairs": args.large, "block_rows": block, "losses": large}
    if args.huge:
        result["huge"] = {
            "block_rows": block,
            "width": HUGE_WIDTH,
            "claim": CLAIM,
            "figures": huge(args.huge, block, args.device),
        }
    print(json.dumps(result, indent=1))
    if args.out:
        write_json(args.out, result)


if __name__ == "__main__":
    main()
