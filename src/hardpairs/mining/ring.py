"""The rows of the other processes, which come by block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hardpairs.core.memory import release
from hardpairs.core.ranks import Ranks
from hardpairs.mining.route import Route
from hardpairs.mining.unit_vectors import UnitVectors, round_vectors


class Ring:
    """The processes in a ring: each has its own rows always, and those of the others in turn.

    While a block is compared, the next one arrives.

    Args:
        vectors: The unit vectors, with addresses for all rows. Those of the process are there.
        route: Which rows come when.
        ranks: This process and the others.
    """

    def __init__(self, vectors: UnitVectors, route: Route, ranks: Ranks) -> None:
        self.route, self._vectors, self._ranks = route, vectors, ranks

    def visits(self, first: int = 0) -> Iterator[int]:
        """Yield the number of one visit after the other, while its rows are here.

        All processes must do this together, and each of them to the end.

        Args:
            first: A visit to begin with, the same one on all processes. Those of its round that
                come before it are repeated.
        """
        route = self.route
        visits = range(route.round_start(first) if first else 1, route.visits)
        wait = self._begin(visits[0]) if visits else None
        if first == 0:
            yield 0
        for visit in visits:
            assert wait is not None
            wait()
            if visit > visits[0]:
                self._leave(visit - 1)  # it has been passed on, too
            wait = self._begin(visit + 1) if visit < visits[-1] else None
            self._round(visit)
            yield visit
        if visits:
            self._leave(visits[-1])

    def _begin(self, visit: int) -> Callable[[], None]:
        """Begin to receive the rows of a visit, and to pass on those that are here."""
        sent, received = (
            [unit[slice(*block)] for unit in self._vectors.unit]
            for block in (self.route.sent(visit), self.route.block(visit))
        )
        return self._ranks.exchange(sent, received)

    def _round(self, visit: int) -> None:
        """Make what is multiplied of the rows that have come."""
        rows = slice(*self.route.block(visit))
        for unit, low in self._pairs():
            if low is not unit:
                round_vectors(unit[rows], low[rows])

    def _leave(self, visit: int) -> None:
        """Give back the memory of the rows of a visit."""
        rows = slice(*self.route.block(visit))
        for unit, low in self._pairs():
            release(unit[rows])
            if low is not unit:
                release(low[rows])

    def _pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return zip(self._vectors.unit, self._vectors.multiplied, strict=True)
