"""The processes of one search: torchrun's, or this one alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch.distributed as distributed


@dataclass(frozen=True)
class Ranks:
    """This process's number and how many there are; they meet in files of a shared folder and wait for each other at barriers."""

    rank: int = 0
    world_size: int = 1

    def barrier(self) -> None:
        if self.world_size > 1:
            distributed.barrier()

    def close(self) -> None:
        if self.world_size > 1:
            distributed.destroy_process_group()

    def share(self, start: int, stop: int) -> tuple[int, int]:
        """This rank's part of a range."""
        size = stop - start
        return start + size * self.rank // self.world_size, start + size * (self.rank + 1) // self.world_size


def join() -> Ranks:
    """Joins torchrun's process group (gloo), if there is one. A rank that fails ends the others through torchrun, so waiting has no limit."""
    world_size = int(os.environ.get("WORLD_SIZE", 1))
    if world_size == 1:
        return Ranks()
    distributed.init_process_group("gloo", timeout=timedelta(days=30))
    return Ranks(distributed.get_rank(), world_size)
