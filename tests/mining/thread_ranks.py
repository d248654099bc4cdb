"""Ranks that are threads of this process."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from hardpairs.core.ranks import Ranks


@dataclass(frozen=True)
class Threads(Ranks):
    """Ranks that are threads of this process, with a queue of arrays for each pair of them.

    They tell each other no thresholds, and wait for each other where they exchange arrays alone.
    """

    arrivals: dict[tuple[int, int], queue.Queue] = field(default_factory=dict)

    def exchange(self, outgoing, incoming, step=1):
        before, after = ((self.rank + places) % self.world_size for places in (-step, step))
        self.arrivals[self.rank, before].put([array.copy() for array in outgoing if array.size])

        def wait():
            arrived = self.arrivals[after, self.rank].get(timeout=60)
            for array, one in zip([each for each in incoming if each.size], arrived, strict=True):
                array[:] = one

        return wait

    def maximum(self, values):
        pass

    def barrier(self):
        pass


def in_threads(count: int, action: Callable[[Threads], Any]) -> list[Any]:
    """Return what an action returns on each rank."""
    arrivals = {pair: queue.Queue() for pair in itertools.product(range(count), repeat=2)}
    with ThreadPoolExecutor(count) as pool:
        results = [pool.submit(action, Threads(rank, count, arrivals)) for rank in range(count)]
        return [result.result(timeout=60) for result in results]
