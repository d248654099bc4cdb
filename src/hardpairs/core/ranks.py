"""The processes of one search: torchrun's, or this one alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as distributed

from hardpairs.core.errors import Exit, UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process's number and how many there are; they meet in files of a shared folder and at barriers."""

    rank: int = 0
    world_size: int = 1

    def barrier(self) -> None:
        """Waits for all.

        Raises:
            UserError: exit 7 when another process has stopped.
        """
        if self.world_size > 1:
            with _peers_alive():
                distributed.barrier()

    def first_alone(self, action: Callable[[], T]) -> T:
        """The action's result: rank 0 acts first, so that what it leaves on disk (an index of a tar, say) is made once."""
        if self.rank:
            self.barrier()
        result = action()
        if not self.rank:
            self.barrier()
        return result

    def device(self, name: str) -> str:
        """``name``, or of several processes this one's GPU where it is "cuda"."""
        return (
            f"cuda:{os.environ['LOCAL_RANK']}" if name == "cuda" and self.world_size > 1 else name
        )

    def maximum(self, values: np.ndarray) -> None:
        """Puts the largest of all ranks' into each of ``values`` (float32)."""
        if self.world_size > 1:
            with _peers_alive():
                distributed.all_reduce(torch.from_numpy(values), distributed.ReduceOp.MAX)

    def close(self) -> None:
        if self.world_size > 1:
            distributed.destroy_process_group()

    def share(self, start: int, stop: int) -> tuple[int, int]:
        """This rank's part of a range."""
        size = stop - start
        return start + size * self.rank // self.world_size, start + size * (
            self.rank + 1
        ) // self.world_size


@contextlib.contextmanager
def _peers_alive() -> Iterator[None]:
    """Gloo's error, when a connection breaks, in words: the process that stopped has said why."""
    try:
        yield
    except RuntimeError:
        raise UserError(
            Exit.PEER_FAILED, "another process of this run has stopped", fix="see its message"
        ) from None


ALONE = Ranks()


def join() -> Ranks:
    """Joins torchrun's process group (gloo), if there is one. A rank that fails ends the others through torchrun, so waiting has no limit."""
    world_size = int(os.environ.get("WORLD_SIZE", 1))
    if world_size == 1:
        return ALONE
    distributed.init_process_group("gloo", timeout=timedelta(days=30))
    return Ranks(distributed.get_rank(), world_size)
