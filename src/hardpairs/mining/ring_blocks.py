"""The search of a process that keeps its share of the rows, and meets the others in turn."""

from __future__ import annotations

import itertools

import numpy as np
from tqdm import tqdm

from hardpairs.core.progress import Progress
from hardpairs.core.ranks import Ranks
from hardpairs.mining.engine import Engine
from hardpairs.mining.engine.kernel import REASONS, CandidateLists, Decided
from hardpairs.mining.engine.lists import decide_lists, settle
from hardpairs.mining.list_blocks import ListBlocks
from hardpairs.mining.plan import Grid, Plan, Tile
from hardpairs.mining.ring import Ring


class RingBlocks(ListBlocks):
    """The search of one rank of several, each of which fills the lists of its own rows alone.

    A score is exact before its column leaves. So a list is final when all rows have come by.

    Args:
        plan: The sizes of the search.
        engine: Compares the pairs of a tile.
        progress: Where unfinished work is committed.
        ranks: This process and the others.
        grid: Which pairs are compared.
        ring: Brings the rows of the others.
    """

    def __init__(
        self,
        plan: Plan,
        engine: Engine,
        progress: Progress | None,
        ranks: Ranks,
        grid: Grid,
        ring: Ring,
    ) -> None:
        super().__init__(plan, engine, progress, ranks, grid)
        self.ring = ring

    def _search(
        self, number: int, start: int, stop: int, bar: tqdm, finished: Decided | None
    ) -> Decided:
        """Return the final lists of this rank's share of a block.

        A rank that has finished its share searches for no rows, and passes on those of the others.
        """
        if self._all(finished is not None):
            assert finished is not None
            return finished
        start, stop = self.ranks.share(start, stop)
        lists = self.fill(number, start, stop if finished is None else start, bar)
        decided = self._decide(start, stop, lists)
        if finished is None:
            self._save_result(number, decided)
        return finished or decided

    def _own_tiles(self, start: int, stop: int) -> list[Tile]:
        """Return the tiles of this rank's share of a block, by visit."""
        return list(itertools.chain(*self._tiles_by_visit(*self.ranks.share(start, stop))))

    def _tiles_by_visit(self, start: int, stop: int) -> list[list[Tile]]:
        tiles = self.grid.tiles(start, stop) if start < stop else []
        return self.ring.route.tiles_by_visit(tiles)

    def fill(self, number: int, start: int, stop: int, bar: tqdm) -> CandidateLists:
        """Return the lists of rows [start, stop) after all candidates have come by.

        Args:
            number: Number of the block; committed lists of it are continued.
            start: First row of this rank's.
            stop: Row after the last one; ``start`` for no rows.
            bar: Shows the pairs that are done.
        """
        parts = self._tiles_by_visit(start, stop)
        tiles = list(itertools.chain(*parts))
        ends = np.cumsum([len(part) for part in parts]).tolist()
        first, lists = self._begun(number, start, stop)
        bar.update(sum(tile.pairs for tile in tiles[:first]))
        for visit in self.ring.visits(self._first_visit(first, ends)):
            positions = range(max(first, ends[visit] - len(parts[visit])), ends[visit])
            if positions:
                self._offer(number, tiles, positions, lists, bar)
                self.engine.flush()
                settle(self.engine.data, lists)
        return lists

    def _first_visit(self, position: int, ends: list[int]) -> int:
        """Return the first visit that a rank still needs.

        Args:
            position: Tiles that this rank's lists have met.
            ends: Tiles up to the end of each visit.
        """
        own = next((visit for visit, end in enumerate(ends) if end > position), len(ends) - 1)
        latest = np.array([-own])
        self.ranks.maximum(latest)
        return -int(latest[0])

    def _decide(self, start: int, stop: int, lists: CandidateLists) -> Decided:
        """Return the final lists; another round counts what was removed and had no room."""
        decided = decide_lists(self.engine.data, lists)
        overflowed = np.flatnonzero(lists.overflowed)
        if not self._all(not len(overflowed)):
            rows, last_key = overflowed + lists.first_row, decided.last_key[overflowed]
            decided.removed[overflowed] = self._count_removed(rows, last_key)
        return decided

    def _count_removed(self, rows: np.ndarray, last_key: np.ndarray) -> np.ndarray:
        """Do what ``ListBlocks._count_removed`` does while all candidates come by once more."""
        counts = np.zeros((len(rows), REASONS), np.int64)
        compared = [
            (own, visit, columns)
            for own, ranges in self.grid.compared(rows)
            for left, right in ranges
            for visit, *columns in self.ring.route.cut(left, right)
        ]
        for visit in self.ring.visits():
            for own, at, (left, right) in compared:
                if at == visit and len(own):
                    found = np.zeros((len(own), REASONS), np.int64)
                    self.engine.count_removed(rows[own], (left, right), last_key[own], found)
                    counts[own] += found
        return counts
