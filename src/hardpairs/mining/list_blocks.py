"""Fill the lists of rows block by block, decide them, and commit what is done."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from tqdm import tqdm

from hardpairs.core.progress import Progress
from hardpairs.core.ranks import Ranks
from hardpairs.mining.engine import Engine
from hardpairs.mining.engine.kernel import REASONS, CandidateLists, Decided
from hardpairs.mining.engine.lists import (
    Packed,
    decide_lists,
    empty_lists,
    empty_packed,
    list_rows,
    merge,
    pack,
    raise_thresholds,
    settle,
    unpack,
)
from hardpairs.mining.options import LEAST
from hardpairs.mining.paging import Paging
from hardpairs.mining.plan import Grid, Plan, Tile


def agreed_plan(
    plan: Plan, order: np.ndarray, progress: Progress | None, ranks: Ranks
) -> tuple[Plan, np.ndarray]:
    """Return the plan and the order of rows that all ranks and an earlier run follow.

    They are those of rank 0, since free memory and the rounding of products differ between ranks.
    Unfinished work keeps its own, since its tiles must stay.

    Args:
        plan: This rank's plan.
        order: (M,) this rank's order of rows.
        progress: Where unfinished work is.
        ranks: This process and the others.
    """
    if progress and ranks.rank == 0:
        stored = progress.load("plan")
        if stored is not None:
            kept, stored_order = _plan_of(stored), stored.pop("order")
            if _goes_with(kept, plan):
                plan, order = kept, stored_order
            else:
                print("unfinished work of another kind of device: begun anew", file=sys.stderr)
                progress.forget("plan")
        if ranks.world_size > 1:
            _save_plan(progress, plan, order)
    plan = ranks.of_first(lambda: plan)
    ranks.take_first(order)
    return plan, order


def _plan_of(stored: dict[str, np.ndarray]) -> Plan:
    return Plan(**{name: value.item() for name, value in stored.items() if name != "order"})


def _goes_with(stored: Plan, plan: Plan) -> bool:
    """Tell whether both are for one kind of device, with all rows on it or some at a time."""
    here, there = ((each.accelerated, each.on_device > 0) for each in (plan, stored))
    return here == there


def engine_sizes(plan: Plan, own: Plan) -> Plan:
    """Return the plan that says what the engine of this process has in memory.

    Args:
        plan: What all ranks follow, from rank 0 or from an earlier run.
        own: What this rank has memory for now.
    """
    return own if _goes_with(plan, own) else plan


def _save_plan(progress: Progress, plan: Plan, order: np.ndarray) -> None:
    if progress.owner and not progress.has("plan"):
        sizes = {name: np.array(value) for name, value in asdict(plan).items()}
        progress.save("plan", order=order, **sizes)


def own_tiles(tiles: list[Tile], ranks: Ranks) -> list[Tile]:
    """Return one rank's tiles; each tile goes to the rank with the fewest pairs."""
    loads = [0] * ranks.world_size
    own = []
    for tile in tiles:
        rank = loads.index(min(loads))
        loads[rank] += tile.pairs
        if rank == ranks.rank:
            own.append(tile)
    return own


class ListBlocks:
    """The search of one rank, over all blocks of lists.

    A rank fills lists of all rows of a block from its own tiles, and hands each other rank what it
    has of that rank's share. Rank 0 receives the final lists.

    Names of committed progress: ``lists{block}_{rank}``, a rank's lists of a block as far as they
    are filled; ``result{block}_{rank}``, its share of the decided ones. Each says which plan it
    follows, and none of another plan is read. A rank reads its own alone.

    Args:
        plan: The sizes of the search.
        engine: Compares the pairs of a tile.
        progress: Where unfinished work is committed.
        ranks: This process and the others.
        grid: Which pairs are compared, by default all of them.
        paging: Where the rows are mapped, says how many of them may be in memory.
    """

    def __init__(
        self,
        plan: Plan,
        engine: Engine,
        progress: Progress | None,
        ranks: Ranks,
        grid: Grid | None = None,
        paging: Paging | None = None,
    ) -> None:
        self.plan, self.engine, self.progress, self.ranks = plan, engine, progress, ranks
        self.grid: Grid = grid or plan
        self.paging = paging or Paging([], 0)
        followed = [asdict(plan), ranks.world_size, self.grid.identity]
        self._plan_hash = _hash(followed, engine.data.row_number)

    def pairs(self) -> int:
        """Return the number of pairs that this rank compares."""
        blocks = self.plan.list_blocks()
        return sum(tile.pairs for block in blocks for tile in self._own_tiles(*block))

    def run(self, verbose: bool) -> Iterator[Decided]:
        """Yield the final lists of all rows in search order; on ranks other than 0, nothing."""
        hidden = None if verbose and self.ranks.rank == 0 else True  # None: unless on a terminal
        form = {"unit": "pair", "unit_scale": True, "desc": "mine", "file": sys.stderr}
        with tqdm(total=self.pairs(), disable=hidden, **form) as bar:
            for number, (start, stop) in enumerate(self.plan.list_blocks()):
                yield from self._block(number, start, stop, bar)

    def _block(self, number: int, start: int, stop: int, bar: tqdm) -> Iterator[Decided]:
        rank = self.ranks.rank
        self.ranks.at(f"at block {number} of {len(self.plan.list_blocks())}")
        stored = self._own(f"result{number}_{rank}")
        own = self._search(number, start, stop, bar, None if stored is None else Decided(**stored))
        self.ranks.barrier()  # after it all results are committed, and no rank needs lists
        if self.progress:
            self.progress.forget(f"lists{number}_{rank}")
        yield from self._on_first(own, start, stop)

    def _on_first(self, own: Decided, start: int, stop: int) -> Iterator[Decided]:
        """Yield the final lists of all ranks' shares on rank 0; hand them over on the others."""
        rank = self.ranks.rank
        if rank == 0:
            yield own
        for other, (top, bottom) in enumerate(self.ranks.shares(start, stop)[1:], start=1):
            coming: list[np.ndarray] = []
            if rank == 0:
                coming = [np.empty((bottom - top, *one.shape[1:]), one.dtype) for one in own]
            self.ranks.exchange(own if rank == other else [], coming, other)()
            if rank == 0:
                yield Decided(*coming)

    def _search(
        self, number: int, start: int, stop: int, bar: tqdm, finished: Decided | None
    ) -> Decided:
        """Return the final lists of this rank's share of a block.

        Args:
            number: Number of the block.
            start: First row.
            stop: Row after the last one.
            bar: Shows the pairs that are done.
            finished: The lists, where an earlier run has committed them. A rank that lacks its own
                needs the lists of all others, which have committed them, too.
        """
        if self._all(finished is not None):
            assert finished is not None
            return finished
        decided = self._decide(start, stop, self.fill(number, start, stop, bar))
        if finished is None:
            self._save_result(number, decided)
        return decided

    def _all(self, answer: bool) -> bool:
        """Tell whether the answer of all ranks is yes."""
        answers = np.array([not answer], np.uint8)
        self.ranks.maximum(answers)
        return not answers[0]

    def _save_result(self, number: int, decided: Decided) -> None:
        several_blocks = len(self.plan.list_blocks()) > 1
        if self.progress and (self.ranks.world_size > 1 or several_blocks):
            _save_plan(self.progress, self.plan, self.engine.data.row_number)
            self._save(f"result{number}_{self.ranks.rank}", **decided._asdict())

    def _own_tiles(self, start: int, stop: int) -> list[Tile]:
        """Return this rank's tiles of a block."""
        return own_tiles(self.grid.tiles(start, stop), self.ranks)

    def fill(self, number: int, start: int, stop: int, bar: tqdm) -> CandidateLists:
        """Return lists filled from this rank's tiles, committed before other ranks get them.

        Args:
            number: Number of the block; committed lists of it are continued.
            start: First row.
            stop: Row after the last one.
            bar: Shows the pairs that are done.
        """
        tiles = self._own_tiles(start, stop)
        first, lists = self._begun(number, start, stop)
        bar.update(sum(tile.pairs for tile in tiles[:first]))
        near = max(first, sum(map(self.grid.is_near, tiles)))  # they come first
        self._offer(number, tiles, range(first, near), lists, bar)
        self._share_thresholds(lists)
        self._offer(number, tiles, range(near, len(tiles)), lists, bar)
        self.engine.flush()
        if self.ranks.world_size > 1:
            self._share_thresholds(lists)
            raise_thresholds(self.engine.data, lists)
            if self.progress:
                self._save_lists(number, len(tiles), lists)
        return lists

    def _begun(self, number: int, start: int, stop: int) -> tuple[int, CandidateLists]:
        """Return the committed lists of rows [start, stop) and how many tiles they have met."""
        stored = self._own(f"lists{number}_{self.ranks.rank}") if start < stop else None
        if stored is None:
            least = float(self.engine.data.limits[LEAST])
            return 0, empty_lists(start, stop - start, self.plan.capacity, least)
        first = int(stored.pop("position"))
        return first, unpack(stored, start, self.plan.capacity)

    def _offer(
        self, number: int, tiles: list[Tile], positions: range, lists: CandidateLists, bar: tqdm
    ) -> None:
        """Offer some of the tiles to the lists of a block, and commit the lists when it is time."""
        for position in positions:
            if self.progress and self.progress.due() and position > positions.start:
                self.engine.flush()
                self._save_lists(number, position, lists)
            self.paging.expect(tiles[position].height + tiles[position].width)
            self.engine.offer(tiles[position], lists)
            bar.update(tiles[position].pairs)

    def _save_lists(self, number: int, position: int, lists: CandidateLists) -> None:
        """Commit lists that have met the tiles before a position."""
        assert self.progress is not None
        _save_plan(self.progress, self.plan, self.engine.data.row_number)
        packed = pack(lists)
        self._save(f"lists{number}_{self.ranks.rank}", position=np.array(position), **packed)

    def _share_thresholds(self, lists: CandidateLists) -> None:
        """Give every list the highest threshold that a rank has for it; done twice per block.

        After the near tiles, the rank that had them tells the others what they need not look at. At
        the end, it tells what they need not hand over.
        """
        if self.ranks.world_size > 1:
            self.engine.flush()
            raise_thresholds(self.engine.data, lists)
            self.ranks.maximum(lists.threshold)

    def _from_others(self, lists: CandidateLists) -> list[Packed]:
        """Hand each rank its share of the lists; return what the others have of this rank's."""
        rank, shares = self.ranks.rank, self.ranks.shares(0, len(lists.entries))
        top, bottom = shares[rank]
        received = []
        for step in range(1, len(shares)):
            going = pack(list_rows(lists, *shares[(rank - step) % len(shares)]))
            entries = np.zeros(1, np.int64)
            self.ranks.exchange([np.array([len(going["column"])])], [entries], step)()
            coming = empty_packed(bottom - top, int(entries[0]))
            self.ranks.exchange([*going.values()], [*coming.values()], step)()
            received.append(coming)
        return received

    def _decide(self, start: int, stop: int, lists: CandidateLists) -> Decided:
        """Return the final lists of this rank's share, from what every rank put into them."""
        top, bottom = (row - start for row in self.ranks.share(start, stop))
        packed = self._from_others(lists)
        lists = list_rows(lists, top, bottom)
        lists = merge(lists, packed) if packed else lists
        if self.paging.resident:  # a few lists at a time; else deciding does the same at once
            self._settle_in_pieces(lists)
        decided = decide_lists(self.engine.data, lists)
        overflowed = np.flatnonzero(lists.overflowed)
        if len(overflowed):
            rows, last_key = overflowed + lists.first_row, decided.last_key[overflowed]
            decided.removed[overflowed] = self._count_removed(rows, last_key)
        return decided

    def _settle_in_pieces(self, lists: CandidateLists) -> None:
        capacity = lists.column.shape[1]
        for first, end in self.paging.pieces(0, len(lists.entries), reads=capacity + 1):
            self.paging.expect((end - first) * (capacity + 1))
            settle(self.engine.data, list_rows(lists, first, end))

    def _count_removed(self, rows: np.ndarray, last_key: np.ndarray) -> np.ndarray:
        """Return (R, REASONS) what filters removed ahead of the last kept entries of rows."""
        counts = np.zeros((len(rows), REASONS), np.int64)
        for own, ranges in self.grid.compared(rows):
            found = np.zeros((len(own), REASONS), np.int64)
            for columns in ranges:
                for piece in self.paging.pieces(*columns, reads=2):
                    self.paging.expect(2 * (piece[1] - piece[0]))
                    self.engine.count_removed(rows[own], piece, last_key[own], found)
            counts[own] = found
        return counts

    def _save(self, name: str, **arrays: np.ndarray) -> None:
        assert self.progress is not None
        self.progress.save(name, plan=self._plan_hash, **arrays)

    def _own(self, name: str) -> dict[str, np.ndarray] | None:
        """Return what this rank has committed under this plan, or ``None``."""
        stored = self.progress.load(name) if self.progress else None
        if stored is None or not np.array_equal(stored.pop("plan", np.zeros(0)), self._plan_hash):
            return None
        return stored


def _hash(followed: list[Any], order: np.ndarray) -> np.ndarray:
    """Return the sha256 of what decides the meaning of committed lists, (32,) uint8."""
    digest = hashlib.sha256(json.dumps(followed).encode())
    digest.update(np.ascontiguousarray(order).data)
    return np.frombuffer(digest.digest(), np.uint8)
