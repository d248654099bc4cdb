"""Run by torchrun: losses in a ring; rank 0 writes mean losses and gradients for the test to compare."""

import sys

import torch
import torch.distributed as dist

from tests.losses.two_ranks import CASES, JOINED_CASES, compute, mean_over_ranks

FLOAT32 = ("clip", "sigmoid form", "composed in blocks")
RING_CASES = [
    *((case, torch.float64) for case in CASES if case not in JOINED_CASES or case == "hardness"),
    *((case, torch.float32) for case in FLOAT32),
]
"""Losses, and the dtype of their features."""


def refuse(*_):
    raise AssertionError("rows were gathered")


if __name__ == "__main__":
    dist.init_process_group("gloo")
    dist.all_gather = refuse
    rank, world_size, results = dist.get_rank(), dist.get_world_size(), {}
    rows = slice(rank * 16 // world_size, (rank + 1) * 16 // world_size)
    for case, dtype in RING_CASES:
        computed = compute(case, rows, dtype, rank=rank, world_size=world_size, ring=True)
        results[case, dtype] = mean_over_ranks(computed)
    if rank == 0:
        torch.save(results, sys.argv[1])
    dist.destroy_process_group()
