"""The processes of one run: torchrun's, or this one alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as distributed

from hardpairs.core import peers
from hardpairs.core.errors import Exit, UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The number of this process and the number of processes.

    Processes share files of a folder that all can reach, and wait for each other at barriers.

    Attributes:
        rank: Number of this process, from 0.
        world_size: Number of processes.
    """

    rank: int = 0
    world_size: int = 1

    def barrier(self) -> None:
        """Wait for all processes.

        Raises:
            UserError: exit 7 when another process has stopped.
        """
        if self.world_size > 1:
            with _peers_alive():
                distributed.barrier()

    def first_alone(self, action: Callable[[], T]) -> T:
        """Return the result of an action that rank 0 performs before the others.

        What rank 0 leaves on disk, such as the index of a tar, is then made once.
        """
        if self.rank:
            self.barrier()
        result = action()
        if not self.rank:
            self.barrier()
        return result

    def device(self, name: str) -> str:
        """Return the device of a name: with several processes "cuda" is this process's own GPU."""
        own = name == "cuda" and self.world_size > 1
        return f"cuda:{os.environ['LOCAL_RANK']}" if own else name

    def maximum(self, values: np.ndarray) -> None:
        """Replace each of ``values`` by its maximum over all processes."""
        if self.world_size > 1:
            with _peers_alive():
                distributed.all_reduce(torch.from_numpy(values), distributed.ReduceOp.MAX)

    def exchange(
        self, outgoing: Sequence[np.ndarray], incoming: Sequence[np.ndarray]
    ) -> Callable[[], None]:
        """Begin to send arrays to the process before this one and to receive those of the next one.

        The last process is the one before the first. Empty arrays are left out.

        Args:
            outgoing: What is sent; it must stay as it is until all is there.
            incoming: What is received into; the next process must send arrays of these sizes.

        Returns:
            A function that waits until all is sent and received.
        """
        before, after = ((self.rank + step) % self.world_size for step in (-1, 1))
        with _peers_alive():
            begun = [
                call(torch.from_numpy(array.reshape(-1).view(np.uint8)), peer, tag=number)
                for call, arrays, peer in (
                    (distributed.isend, outgoing, before),
                    (distributed.irecv, incoming, after),
                )
                for number, array in enumerate(arrays)
                if array.size
            ]

        def wait() -> None:
            with _peers_alive():
                for work in filter(None, begun):
                    work.wait()

        return wait

    def at(self, where: str) -> None:
        """Tell the other processes what this one does; a message names it when it is lost."""
        peers.at(where)

    def close(self) -> None:
        """Leave the process group."""
        peers.unwatch()
        if self.world_size > 1:
            distributed.destroy_process_group()

    def share(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first row and the end of this process's share of a range."""
        size = stop - start
        first = start + size * self.rank // self.world_size
        return first, start + size * (self.rank + 1) // self.world_size


@contextlib.contextmanager
def _peers_alive() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo's, when a connection breaks; who stopped says why
        raise peers.peer_error(error) or UserError(
            Exit.PEER_FAILED, "another process of this run has stopped", fix="see its message"
        ) from None


ALONE = Ranks()


def join(peer_timeout: float = peers.PEER_TIMEOUT) -> Ranks:
    """Join the process group of torchrun (gloo), if there is one, and watch its processes.

    Waiting has no limit while they are there: one may have much more to do than the others.

    Args:
        peer_timeout: Seconds after which a process that does not answer ends this one.
    """
    world_size = int(os.environ.get("WORLD_SIZE", 1))
    if world_size == 1:
        return ALONE
    with peers.joining(peer_timeout):
        distributed.init_process_group("gloo", timeout=timedelta(days=30))
    ranks = Ranks(distributed.get_rank(), world_size)
    peers.watch(ranks.rank, world_size, peer_timeout)
    return ranks
