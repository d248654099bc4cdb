"""Collect the lists of one pool after the other, and commit what is finished."""

from __future__ import annotations

import numpy as np

from hardpairs.core.progress import Progress
from hardpairs.core.ranks import Ranks
from hardpairs.mining.engine.kernel import Decided
from hardpairs.mining.result import ResultBuilder

Lists = tuple[Decided, np.ndarray, np.ndarray]
"""What ``ResultBuilder.add`` takes."""


class FinishedPools:
    """The lists of finished pools, in a result and in committed progress.

    Names of committed progress: ``pools{number}``, lists that were finished since the last commit,
    with ``number`` pools done.

    Args:
        progress: Where finished lists are committed.
        ranks: This process and the others; rank 0 commits.
        builder: Receives all lists.

    Attributes:
        count: Pools that an earlier run finished.
    """

    def __init__(self, progress: Progress | None, ranks: Ranks, builder: ResultBuilder) -> None:
        self._progress, self._first, self._builder = progress, ranks.rank == 0, builder
        self._waiting: list[Lists] = []
        numbers = _committed(progress)
        self.count = max(numbers, default=0)
        if progress:
            progress.claim()
        ranks.barrier()  # before it, nobody commits more
        if progress and self._first:
            for number in numbers:
                self._restore(progress.load(f"pools{number}") or {})

    def _restore(self, stored: dict[str, np.ndarray]) -> None:
        rows, others = stored.pop("rows"), stored.pop("others")
        self._builder.add(Decided(**stored), rows, others)

    def add(self, decided: Decided, rows: np.ndarray, others: np.ndarray) -> None:
        """Add lists of a pool that is being searched, see ``ResultBuilder.add``."""
        self._builder.add(decided, rows, others)
        if self._progress:
            self._waiting.append((decided, rows, others))

    def finish(self, number: int, part: Progress | None) -> None:
        """Commit finished lists when it is time, and remove the progress of their pools.

        Args:
            number: The pool whose lists are all added.
            part: The progress of its search.
        """
        if self._progress is None or part is None or not self._first:
            return
        if self._progress.due() and self._waiting:
            decided, rows, others = zip(*self._waiting, strict=True)
            arrays = {
                name: np.concatenate([getattr(one, name) for one in decided])
                for name in Decided._fields
            }
            self._progress.save(
                f"pools{number + 1}",
                rows=np.concatenate(rows),
                others=np.concatenate(others),
                **arrays,
            )
            self._waiting.clear()
        part.remove()


def _committed(progress: Progress | None) -> list[int]:
    """Return the numbers of pools after which something was committed."""
    names = progress.names() if progress else ()
    return sorted(int(name.removeprefix("pools")) for name in names if name.startswith("pools"))
