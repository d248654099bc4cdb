"""Which rows each process keeps, and in which order it meets those of the others.

Each process keeps its share of every block of lists. The candidates among them travel from process
to process, against the order of their numbers, in blocks of ``Plan.visiting`` rows. In a round each
process sends off one of its own blocks and passes on what comes, until it has met a block of every
other process. Visit 0 is that of its own rows to themselves.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from hardpairs.core.ranks import Ranks
from hardpairs.mining.plan import Plan, Tile
from hardpairs.mining.unit_vectors import Range


@dataclass(frozen=True)
class Route:
    """The rows that one process keeps, and those that come by.

    Attributes:
        rank: Number of the process.
        processes: Number of processes.
        own: The rows that it keeps.
        pool: Candidates, the first rows of all.
        rounds: For each round, the candidates that each process sends off.
    """

    rank: int
    processes: int
    own: list[Range]
    pool: int
    rounds: list[list[Range]]

    @property
    def visits(self) -> int:
        """Return the number of visits."""
        return 1 + len(self.rounds) * (self.processes - 1)

    def round_start(self, visit: int) -> int:
        """Return the first visit of the round that a visit from 1 on belongs to."""
        return visit - (visit - 1) % (self.processes - 1)

    def block(self, visit: int) -> Range:
        """Return the rows that come by at a visit from 1 on."""
        return self._blocks(visit)[1]

    def sent(self, visit: int) -> Range:
        """Return the rows that this process passes on while those of a visit come to it."""
        return self._blocks(visit)[0]

    def _blocks(self, visit: int) -> tuple[Range, Range]:
        """Return what is sent and what is received before a visit."""
        number, step = divmod(visit - 1, self.processes - 1)
        blocks, owner = self.rounds[number], self.rank + step
        return blocks[owner % self.processes], blocks[(owner + 1) % self.processes]

    def tiles_by_visit(self, tiles: list[Tile]) -> list[list[Tile]]:
        """Return for each visit the parts of tiles whose columns are here then."""
        parts: list[list[Tile]] = [[] for _ in range(self.visits)]
        for tile in tiles:
            for visit, left, right in self.cut(tile.left, tile.right):
                parts[visit].append(replace(tile, left=left, right=right))
        return parts

    def cut(self, left: int, right: int) -> Iterator[tuple[int, int, int]]:
        """Yield (visit, left, right): the parts of a range of candidates, with their visits."""
        starts, pieces = self._pieces
        for start, stop, visit in pieces[bisect.bisect_right(starts, left) - 1 :]:
            if start >= right:
                return
            yield visit, max(start, left), min(stop, right)

    @cached_property
    def _pieces(self) -> tuple[list[int], list[tuple[int, int, int]]]:
        """Return ranges that make up all candidates, with their visits, and where they start."""
        pieces = [(start, min(stop, self.pool), 0) for start, stop in self.own]
        pieces += [(*self.block(visit), visit) for visit in range(1, self.visits)]
        pieces = sorted((start, stop, visit) for start, stop, visit in pieces if start < stop)
        return [start for start, *_ in pieces], pieces


def make_route(plan: Plan, ranks: Ranks) -> Route:
    """Return the way of the rows through a process, in a plan whose rows travel.

    Args:
        plan: The sizes of the search.
        ranks: This process and the others.
    """
    own, rounds = [], []
    for start, stop in [(0, plan.first_target), *plan.list_blocks()]:
        shares = ranks.shares(start, stop)
        own.append(shares[ranks.rank])
        for first in range(0, max(end - top for top, end in shares), plan.visiting):
            sent = [(top + first, min(top + first + plan.visiting, end)) for top, end in shares]
            clipped = [(min(top, end, plan.pool), min(end, plan.pool)) for top, end in sent]
            if any(top < end for top, end in clipped):
                rounds.append(clipped)
    kept = [part for part in own if part[0] < part[1]]
    return Route(ranks.rank, ranks.world_size, kept, plan.pool, rounds)
