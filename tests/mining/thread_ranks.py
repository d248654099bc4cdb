"""Ranks that are threads of this process."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from hardpairs.core.ranks import Ranks


@dataclass(frozen=True)
class Threads(Ranks):
    """Ranks that are threads of this process, with a queue of arrays for each."""

    arrivals: list[queue.Queue] = field(default_factory=list)

    def exchange(self, outgoing, incoming):
        self.arrivals[self.rank - 1].put([array.copy() for array in outgoing])

        def wait():
            for array, arrived in zip(incoming, self.arrivals[self.rank].get(), strict=True):
                array[:] = arrived

        return wait


def in_threads(count: int, action: Callable[[Threads], Any]) -> list[Any]:
    """Return what an action returns on each rank."""
    arrivals = [queue.Queue() for _ in range(count)]
    with ThreadPoolExecutor(count) as pool:
        results = [pool.submit(action, Threads(rank, count, arrivals)) for rank in range(count)]
        return [result.result(timeout=60) for result in results]
