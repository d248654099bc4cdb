"""The processes of one search: torchrun's, or this one alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as distributed


@dataclass(frozen=True)
class Ranks:
    """This process's number and how many there are; they meet in files of a shared folder and at barriers."""

    rank: int = 0
    world_size: int = 1

    def barrier(self) -> None:
        if self.world_size > 1:
            distributed.barrier()

    def maximum(self, values: np.ndarray) -> None:
        """Puts the largest of all ranks' into each of ``values`` (float32)."""
        if self.world_size > 1:
            distributed.all_reduce(torch.from_numpy(values), distributed.ReduceOp.MAX)

    def close(self) -> None:
        if self.world_size > 1:
            distributed.destroy_process_group()

    def share(self, start: int, stop: int) -> tuple[int, int]:
        """This rank's part of a range."""
        size = stop - start
        return start + size * self.rank // self.world_size, start + size * (self.rank + 1) // self.world_size


ALONE = Ranks()


def join() -> Ranks:
    """Joins torchrun's process group (gloo), if there is one. A rank that fails ends the others through torchrun, so waiting has no limit."""
    world_size = int(os.environ.get("WORLD_SIZE", 1))
    if world_size == 1:
        return ALONE
    distributed.init_process_group("gloo", timeout=timedelta(days=30))
    return Ranks(distributed.get_rank(), world_size)
