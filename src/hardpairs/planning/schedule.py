"""A simulator of mining: the tiles of the engine's own plan, added up process by process.

It takes the plan, the route of the rows and the share of each process from the engine's own
functions, and nothing from the closed form of ``mining_cost``. So it checks that one. It lists all
tiles: 100,000 rows have 1200, 400 million too many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hardpairs.core.ranks import Ranks
from hardpairs.mining.list_blocks import own_tiles
from hardpairs.mining.plan import Plan, Tile
from hardpairs.mining.route import Route, make_route
from hardpairs.planning.machine import Machine
from hardpairs.planning.mining_cost import Work, block_of


@dataclass(frozen=True)
class Visit:
    """The work of a process while it has the rows of another one.

    Attributes:
        work: What it compares.
        sent: Rows that it passes on meanwhile.
    """

    work: Work
    sent: int


def simulate(plan: Plan, ranks: Ranks) -> list[Visit]:
    """Return what one process does, one visit after the other; without a ring, all at once.

    Args:
        plan: The sizes of the search.
        ranks: The process and the others.
    """
    route = make_route(plan, ranks) if plan.visiting else None
    visits = []
    for start, stop in plan.list_blocks():
        if route is None:
            visits.append(Visit(_sum(own_tiles(plan.tiles(start, stop), ranks)), 0))
        else:
            visits += _visits(plan, route, *ranks.share(start, stop))
    return visits


def _visits(plan: Plan, route: Route, start: int, stop: int) -> list[Visit]:
    parts = route.tiles_by_visit(plan.tiles(start, stop) if start < stop else [])
    sizes = [0, *(_size(route.sent(visit)) for visit in range(1, route.visits))]
    return [Visit(_sum(tiles), sent) for tiles, sent in zip(parts, [*sizes[1:], 0], strict=True)]


def _size(rows: tuple[int, int]) -> int:
    return rows[1] - rows[0]


def _sum(tiles: Iterable[Tile]) -> Work:
    pairs = mirrored = 0
    for tile in tiles:
        pairs += tile.pairs
        mirrored += tile.pairs * tile.both
    return Work(pairs, mirrored)


def simulated_seconds(
    machine: Machine, plan: Plan, widths: Sequence[int], processes: int
) -> tuple[float, float]:
    """Return the seconds of the pairs of the slowest process, and what it then waits for rows.

    Args:
        machine: The constants.
        plan: The sizes of the search.
        widths: Components of an embedding, for each modality.
        processes: Processes that share the search.
    """
    block = block_of(plan, machine.threads)
    rate = 4 * sum(widths) / machine.network_rate
    totals = []
    for rank in range(processes):
        visits = simulate(plan, Ranks(rank, processes))
        computing = [visit.work.seconds(machine.mining, widths, block) for visit in visits]
        waiting = [
            max(0.0, visit.sent * rate - seconds)
            for visit, seconds in zip(visits, computing, strict=True)
        ]
        totals.append((sum(computing), sum(waiting)))
    return max(totals, key=sum)
