"""The processes of one run: torchrun's, or this one alone."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as distributed

from hardpairs.core import peers
from hardpairs.core.errors import Exit, UserError

T = TypeVar("T")
PATIENCE = timedelta(days=30)
"""One process may have much more to do than the others: a wait has no limit of its own.

``hardpairs.core.peers`` ends it when another process is lost.
"""


@dataclass(frozen=True)
class Ranks:
    """The number of this process and the number of processes.

    Processes hand arrays to each other, and wait for each other at barriers: by gloo, also in a
    training run whose GPUs have NCCL.

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
                distributed.barrier(group=cpu_group())

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

    def of_first(self, make: Callable[[], T]) -> T:
        """Return on all processes what ``make`` returns on rank 0, the only one that calls it.

        Args:
            make: Returns something small that can be pickled.
        """
        if self.world_size == 1:
            return make()
        made = [make() if self.rank == 0 else None]
        with _peers_alive():
            distributed.broadcast_object_list(made, src=0, group=cpu_group())
        return made[0]  # type: ignore[return-value]

    @property
    def is_first_of_machine(self) -> bool:
        """Tell whether this is the first process of its machine."""
        return self.rank == 0 or int(os.environ.get("LOCAL_RANK", 1)) == 0

    def device(self, name: str) -> str:
        """Return the device of a name: with several processes "cuda" is this process's own GPU."""
        own = name == "cuda" and self.world_size > 1
        return f"cuda:{os.environ['LOCAL_RANK']}" if own else name

    def maximum(self, values: np.ndarray) -> None:
        """Replace each of ``values`` by its maximum over all processes."""
        if self.world_size > 1:
            with _peers_alive():
                distributed.all_reduce(
                    torch.from_numpy(values), distributed.ReduceOp.MAX, group=cpu_group()
                )

    def take_first(self, values: np.ndarray) -> None:
        """Replace ``values`` by those of rank 0; all have one shape and one dtype."""
        if self.world_size > 1:
            with _peers_alive():
                distributed.broadcast(torch.from_numpy(values), src=0, group=cpu_group())

    def exchange(
        self, outgoing: Sequence[np.ndarray], incoming: Sequence[np.ndarray], step: int = 1
    ) -> Callable[[], None]:
        """Begin to send arrays to the process before this one and to receive those of the next one.

        The last process is the one before the first. Empty arrays are left out.

        Args:
            outgoing: What is sent, contiguous; it must stay as it is until all is there.
            incoming: What is received into; the next process must send arrays of these sizes.
            step: How many places before and after this process the others are.

        Returns:
            A function that waits until all is sent and received.
        """
        before, after = ((self.rank + places) % self.world_size for places in (-step, step))
        with _peers_alive():
            group = cpu_group()
            begun = [
                call(torch.from_numpy(array.reshape(-1).view(np.uint8)), peer, group, number)
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

    def gather(self, own: np.ndarray, lengths: Sequence[int]) -> list[np.ndarray]:
        """Return the arrays of all processes, by rank.

        Args:
            own: (n, ...) this process's array.
            lengths: The first axis of each process's array; the other axes and the dtype are equal.
        """
        gathered = [np.empty((length, *own.shape[1:]), own.dtype) for length in lengths]
        gathered[self.rank] = own
        for step in range(1, self.world_size):
            self.exchange([own], [gathered[(self.rank + step) % self.world_size]], step)()
        return gathered

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
        return self.shares(start, stop)[self.rank]

    def shares(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the first row and the end of each process's share of a range."""
        size = stop - start
        cuts = [start + size * rank // self.world_size for rank in range(self.world_size + 1)]
        return list(itertools.pairwise(cuts))

    def of_all(self, own: np.ndarray, count: int) -> np.ndarray:
        """Return the (count, ...) array of which each process has its share.

        Args:
            own: (n, ...) the rows ``share(0, count)``.
            count: Rows of all processes.
        """
        lengths = [stop - start for start, stop in self.shares(0, count)]
        return own if self.world_size == 1 else np.concatenate(self.gather(own, lengths))


def cpu_group() -> distributed.ProcessGroup | None:
    """Return the group of all processes for what is in main memory; ``None``: the default group.

    All processes call it together the first time.
    """
    return _cpu_group(distributed.group.WORLD)


@lru_cache(maxsize=1)
def _cpu_group(world: distributed.ProcessGroup) -> distributed.ProcessGroup | None:
    if distributed.get_backend(world) == "gloo":
        return None
    group = distributed.new_group(timeout=PATIENCE, backend="gloo")
    return group if isinstance(group, distributed.ProcessGroup) else None


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
        distributed.init_process_group("gloo", timeout=PATIENCE)
    ranks = Ranks(distributed.get_rank(), world_size)
    peers.watch(ranks.rank, world_size, peer_timeout)
    return ranks
