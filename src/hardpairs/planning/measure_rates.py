"""Measure the rates of the disk and between two processes, by the clock."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as distributed

from hardpairs.core.atomic import atomic_open
from hardpairs.core.errors import Exit, UserError
from hardpairs.core.ranks import Ranks

REPEATS = 3
PATIENCE = 60.0
"""Seconds that two processes may take to start and to exchange."""


def clock_seconds(action: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Return the shortest time of an action."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def disk_rates(folder: Path, size: int) -> tuple[float, float]:
    """Return the bytes per second that are read from a folder's disk, and written and flushed.

    Args:
        folder: A folder that exists.
        size: Bytes of the file that is written there, and removed.
    """
    data = np.random.default_rng(0).bytes(size)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".hardpairs_plan_") as own:
        path = Path(own) / "data"

        def write() -> None:
            with atomic_open(path) as file:
                file.write(data)

        written = clock_seconds(write)
        return size / clock_seconds(lambda: _read(path)), size / written


def _read(path: Path) -> None:
    """Read a file from the disk: what the system has of it in memory is dropped before."""
    with path.open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(1 << 22):
            pass


def network_rate(size: int) -> float:
    """Return the bytes per second from one process of this machine to another, both ways at once.

    Args:
        size: Bytes of a block.
    """
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="hardpairs_plan_") as folder:
        queue = spawn.SimpleQueue()
        arguments = f"file://{folder}/meeting", size, queue
        processes = [
            spawn.Process(target=_exchange, args=(rank, *arguments), daemon=True) for rank in (0, 1)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(PATIENCE)
            if process.exitcode:
                break
        if any(process.exitcode != 0 for process in processes):
            for process in processes:
                process.kill()
            raise UserError(
                Exit.PEER_FAILED,
                "two processes of this machine cannot exchange data",
                fix="see the messages above",
            )
        return size / float(queue.get())


def _exchange(rank: int, meeting: str, size: int, queue: Any) -> None:
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    ranks = Ranks(rank, 2)
    outgoing, incoming = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    seconds = clock_seconds(lambda: ranks.exchange([outgoing], [incoming])())
    if rank == 0:
        queue.put(seconds)
    ranks.barrier()
    distributed.destroy_process_group()
