"""Collect the lists of one pool after the other, and commit what is finished."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hardpairs.core.progress import Progress
from hardpairs.core.ranks import Ranks
from hardpairs.mining.engine.kernel import Decided
from hardpairs.mining.result import Lists, ResultBuilder

MOST_WAITING = 16 << 20
"""Bytes of row numbers in lists that wait in memory to be stored."""


class FinishedPools:
    """The lists of finished pools, in a result and in committed progress.

    Names of committed progress: ``finished{piece}``, lists of some rows; ``pools``, how many pools
    are done and how many pieces have their lists. Further pieces do not count.

    Args:
        progress: Where finished lists are committed.
        ranks: This process and the others; rank 0 commits.
        builder: Receives all lists.

    Attributes:
        count: Pools that an earlier run finished.
    """

    def __init__(self, progress: Progress | None, ranks: Ranks, builder: ResultBuilder) -> None:
        self._progress = progress if ranks.rank == 0 else None
        self._builder = builder
        self._waiting: list[Lists] = []
        self._bytes = 0
        self.count, self._pieces = ranks.of_first(self._finished)
        self._committed = self._pieces
        if progress:
            progress.claim()
        if self._progress:
            for piece in range(self._pieces):
                self._restore(self._progress.load_others(f"finished{piece}"))

    def _finished(self) -> tuple[int, int]:
        """Return how many pools are done, and how many pieces have their lists."""
        stored = self._progress.load("pools") if self._progress else None
        return (0, 0) if stored is None else (int(stored["done"]), int(stored["pieces"]))

    def _restore(self, stored: dict[str, np.ndarray]) -> None:
        rows, others = stored.pop("rows"), stored.pop("others")
        self._builder.add(Decided(**stored), rows, others)

    def add(self, decided: Decided, rows: np.ndarray, others: np.ndarray) -> None:
        """Add lists of a pool that is being searched, see ``ResultBuilder.add``."""
        self._builder.add(decided, rows, others)
        if self._progress:
            self._waiting.append((decided, rows, others))
            self._bytes += decided.indices.nbytes
            if self._bytes > MOST_WAITING:
                self._save(self._progress)

    def finish(self, number: int, part: Progress | None) -> None:
        """Commit finished lists when it is time, and remove the progress of their pools.

        Args:
            number: The pool whose lists are all added.
            part: The progress of its search.
        """
        if self._progress and (self._progress.due() or self._pieces > self._committed):
            self._save(self._progress)
            self._committed = self._pieces
            done, pieces = np.array(number + 1), np.array(self._pieces)
            self._progress.save("pools", done=done, pieces=pieces)
        if part:
            part.remove()

    def _save(self, progress: Progress) -> None:
        """Store the lists that wait, as one piece."""
        if not self._waiting:
            return
        decided, rows, others = zip(*self._waiting, strict=True)
        arrays = {
            name: _joined([getattr(one, name) for one in decided]) for name in Decided._fields
        }
        name = f"finished{self._pieces}"
        progress.save(name, rows=_joined(rows), others=_joined(others), **arrays)
        self._waiting.clear()
        self._pieces += 1
        self._bytes = 0


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return arrays one after the other; one alone, which may be large, is not copied."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
