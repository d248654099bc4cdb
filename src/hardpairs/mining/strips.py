"""Strip by strip: fills the lists of some rows from their tiles, decides them, and commits what is done."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from hardpairs.core.ranks import Ranks
from hardpairs.mining import kernel
from hardpairs.mining.found import Lists
from hardpairs.mining.plan import Plan, Tile
from hardpairs.mining.sweep import (
    Sweep,
    empty_lists,
    in_threads,
    merged,
    packed,
    part_of,
    some_of,
    unpacked,
)
from hardpairs.mining.work import Work

if TYPE_CHECKING:
    from hardpairs.mining.device import DeviceSweep


def agreed_plan(
    plan: Plan, order: np.ndarray, work: Work | None, ranks: Ranks
) -> tuple[Plan, np.ndarray]:
    """Plan and order of rows that unfinished work was done by, since its tiles must stay; else rank 0's, since free memory and the rounding of
    products differ between ranks."""
    if work is None:
        return plan, order
    if ranks.rank == 0 and ranks.world_size > 1:
        _keep_plan(work, plan, order)
    ranks.barrier()
    stored = work.load("plan")
    if stored is None:
        return plan, order
    order = stored.pop("order")
    return Plan(**{name: value.item() for name, value in stored.items()}), order


def _keep_plan(work: Work, plan: Plan, order: np.ndarray) -> None:
    if work.writer and not work.has("plan"):
        work.save(
            "plan", order=order, **{name: np.array(value) for name, value in asdict(plan).items()}
        )


class Strips:
    """The search itself, on one rank.

    Names of committed work: ``lists{strip}_{rank}``, a rank's lists of a strip as far as they are filled; ``result{strip}_{rank}``, its share
    of the decided ones. ``work`` is needed by several ranks: they hand their lists to each other through it.
    """

    def __init__(
        self, plan: Plan, sweep: Sweep | DeviceSweep, work: Work | None, ranks: Ranks
    ) -> None:
        self.plan, self.sweep, self.work, self.ranks = plan, sweep, work, ranks

    def run(self, verbose: bool) -> Iterator[Lists]:
        """Final lists of all rows in search order, as they get done; on ranks other than 0, nothing."""
        total = sum(tile.cost for strip in self.plan.strips() for tile in self._own(*strip))
        shown = (
            None if verbose and self.ranks.rank == 0 else True
        )  # None: where stderr is a terminal
        with tqdm(
            total=total, unit="pair", unit_scale=True, desc="mine", file=sys.stderr, disable=shown
        ) as bar:
            for number, (start, stop) in enumerate(self.plan.strips()):
                yield from self._strip(number, start, stop, bar)

    def _strip(self, number: int, start: int, stop: int, bar: tqdm) -> Iterator[Lists]:
        work, rank, several = self.work, self.ranks.rank, self.ranks.world_size > 1
        stored = work.load(f"result{number}_{rank}") if work else None
        if stored is None:
            lists = self._fill(number, start, stop, bar)
        else:
            for _ in range(2):
                self.ranks.maximum(
                    np.zeros(stop - start, np.float32)
                )  # others share their thresholds
        self.ranks.barrier()  # all lists are there
        if stored is None:
            own = self._decide(number, start, stop, lists)
            if work and (several or self.plan.strip < self.plan.rows):
                _keep_plan(work, self.plan, self.sweep.data.original)
                work.save(f"result{number}_{rank}", **vars(own))
        else:
            own = Lists(**stored)
        self.ranks.barrier()  # all results are there, and nobody needs lists any more
        if work:
            work.forget(f"lists{number}_{rank}")
        if rank == 0:
            yield own
            for other in range(1, self.ranks.world_size):
                yield Lists(**_stored(work, f"result{number}_{other}"))

    def _own(self, start: int, stop: int) -> list[Tile]:
        """This rank's tiles of a strip: each goes to the rank that has least so far."""
        loads = [0] * self.ranks.world_size
        own = []
        for tile in self.plan.tiles(start, stop):
            rank = loads.index(min(loads))
            loads[rank] += tile.cost
            if rank == self.ranks.rank:
                own.append(tile)
        return own

    def _fill(self, number: int, start: int, stop: int, bar: tqdm) -> kernel.State:
        """Lists of rows [start, stop) from this rank's tiles, going on from committed ones; committed whole where others wait for them."""
        work, tiles, name = self.work, self._own(start, stop), f"lists{number}_{self.ranks.rank}"
        stored = work.load(name) if work else None
        if stored is None:
            position, lists = (
                0,
                empty_lists(
                    stop - start, self.plan.capacity, float(self.sweep.data.limits[kernel.LEAST])
                ),
            )
        else:
            position, lists = int(stored.pop("position")), unpacked(stored, self.plan.capacity)
            bar.update(sum(tile.cost for tile in tiles[:position]))
        near = sum(map(self.plan.is_near, tiles))  # they come first
        for done in range(position, len(tiles) + 1):
            if done == max(near, position):
                self._share_thresholds(lists)
            if done == len(tiles):
                break
            if work and work.due() and done > position:
                self.sweep.flush()
                _keep_plan(work, self.plan, self.sweep.data.original)
                work.save(name, position=np.array(done), **packed(lists))
            self.sweep.tile(tiles[done], lists, start)
            bar.update(tiles[done].cost)
        self.sweep.flush()
        if work and self.ranks.world_size > 1:
            self._share_thresholds(lists)
            self._raise_thresholds(lists)
            work.save(name, position=np.array(len(tiles)), **packed(lists))
        return lists

    def _share_thresholds(self, lists: kernel.State) -> None:
        """Twice a strip. After the tiles that bring a row its best: the rank that had them tells the others what they need not look at. And at
        the end, for what they need not hand over."""
        if self.ranks.world_size > 1:
            self.sweep.flush()
            self._raise_thresholds(lists)
            self.ranks.maximum(lists.threshold)

    def _raise_thresholds(self, lists: kernel.State) -> None:
        in_threads(
            kernel.raise_thresholds, len(lists.count), lists.column.shape[1], lists, self.plan.depth
        )

    def _decide(self, number: int, start: int, stop: int, lists: kernel.State) -> Lists:
        """Final lists of this rank's share of the strip, from what every rank put into them."""
        top, bottom = self.ranks.share(start, stop)
        if self.ranks.world_size > 1:
            others = (rank for rank in range(self.ranks.world_size) if rank != self.ranks.rank)
            parts = [
                part_of(_stored(self.work, f"lists{number}_{rank}"), top - start, bottom - start)
                for rank in others
            ]
            lists = merged(some_of(lists, top - start, bottom - start), parts)
        depth, count = self.plan.depth, bottom - top
        indices, scores = (
            np.full((count, depth), -1, np.int64),
            np.zeros((count, depth), np.float32),
        )
        removed, last = np.zeros((count, kernel.REASONS), np.int64), np.zeros(count, np.uint64)
        in_threads(
            kernel.finish,
            count,
            lists.column.shape[1],
            self.sweep.data,
            lists,
            depth,
            top,
            indices,
            scores,
            removed,
            last,
        )
        again = np.flatnonzero(lists.spilled)
        if len(again):
            counts = removed[again]
            self.sweep.count_removed(again + top, self.plan.pool, last[again], counts)
            removed[again] = counts
        return Lists(indices, scores, removed)


def _stored(work: Work | None, name: str) -> dict[str, np.ndarray]:
    """What another rank has committed before the last barrier."""
    stored = work.load(name) if work else None
    assert stored is not None
    return stored
