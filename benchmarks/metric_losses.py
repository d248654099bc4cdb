"""Metric losses through the trainer's wrapper (gathering, labels, miner) against the same
pytorch-metric-learning loss called by itself.

    python -m benchmarks.metric_losses --out benchmarks/results/metric_losses.json

Forward and backward on the same embeddings, both ways in turn; a figure is the median of the
rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.machine import describe_machine
from hardpairs.batches import BatchInfo
from hardpairs.core.atomic import write_json
from hardpairs.losses import LOSSES, LossContext, TrainingLoss

WIDTH = 512
CASES = {
    "supcon": ("supcon", "none"),
    "contrastive": ("contrastive", "none"),
    "contrastive_squared": ("contrastive_squared", "none"),
    "triplet": ("triplet", "none"),
    "triplet, batch-hard": ("triplet", "batch-hard"),
    "triplet, semi-hard": ("triplet", "semi-hard"),
    "contrastive, multi-similarity": ("contrastive", "multi-similarity"),
    "arcface": ("arcface", "none"),
}


def steps(
    loss_name: str, miner_name: str, batch: int, classes: int
) -> tuple[Callable[[], torch.Tensor], Callable[[], torch.Tensor]]:
    """(ours, the library's own call): each gives the loss of the same batch, to be gone back
    through.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(batch) // 4 % classes
    raw = torch.randn(batch, WIDTH, generator=generator, requires_grad=True)
    weights = (
        torch.randn(classes, WIDTH, generator=generator, requires_grad=True)
        if loss_name == "arcface"
        else None
    )
    component = LOSSES.load(loss_name)
    config = component.Config(**({} if miner_name == "none" else {"miner": miner_name}))
    context = LossContext(group_ids=torch.arange(classes), width=WIDTH)
    wrapped = component.from_config(config, context)
    library, miner = wrapped.loss, wrapped.miner
    ours = TrainingLoss(component.from_config(config, context))
    side = F.normalize(torch.randn(batch, WIDTH, generator=generator), dim=1)
    info = BatchInfo(group_ids=labels[:, None])  # comes with the batch

    def through_ours() -> torch.Tensor:
        embedding = F.normalize(raw, dim=1)
        scale = torch.tensor(14.3)
        return ours(side, side, scale, info=info, embedding=embedding, class_weights=weights)

    def by_itself() -> torch.Tensor:
        embedding = F.normalize(raw, dim=1)
        return (
            library(embedding, labels)
            if miner is None
            else library(embedding, labels, miner(embedding, labels))
        )

    return through_ours, by_itself


def seconds(step: Callable[[], torch.Tensor]) -> float:
    start = time.perf_counter()
    step().backward()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=301)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    results = {}
    for name, (loss, miner) in CASES.items():
        ours, library = steps(loss, miner, args.batch, args.classes)
        shares, times = [], []
        for number in range(args.rounds + 2):
            order = (ours, library) if number % 2 else (library, ours)
            found = {step: seconds(step) for step in order}
            if number > 1:  # the first ones warm up
                shares.append(found[ours] / found[library])
                times.append(found[ours])
        results[name] = {"ratio": statistics.median(shares), "seconds": statistics.median(times)}
        print(name, json.dumps(results[name]), flush=True)
    command = " ".join(["python -m benchmarks.metric_losses", *sys.argv[1:]])
    write_json(
        args.out,
        {
            "command": command,
            "batch": args.batch,
            "width": WIDTH,
            "classes": args.classes,
            "machine": describe_machine(),
            "results": results,
        },
    )


if __name__ == "__main__":
    main()
