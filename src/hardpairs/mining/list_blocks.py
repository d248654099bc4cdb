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

from hardpairs.core.errors import mismatch
from hardpairs.core.progress import Progress
from hardpairs.core.ranks import Ranks
from hardpairs.mining.engine import Engine
from hardpairs.mining.engine.kernel import REASONS, CandidateLists, Decided
from hardpairs.mining.engine.lists import (
    decide_lists,
    empty_lists,
    list_rows,
    merge,
    pack,
    packed_rows,
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

    Unfinished work keeps its own, since its tiles must stay. Otherwise rank 0's count, since free
    memory and the rounding of products differ between ranks.

    Args:
        plan: This rank's plan.
        order: (M,) this rank's order of rows.
        progress: Where unfinished work is.
        ranks: This process and the others.
    """
    if progress is None:
        return plan, order
    if ranks.rank == 0 and ranks.world_size > 1:
        _save_plan(progress, plan, order)
    ranks.barrier()
    stored = progress.load("plan")
    if stored is None:
        return plan, order
    order = stored.pop("order")
    return Plan(**{name: value.item() for name, value in stored.items()}), order


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

    Names of committed progress: ``lists{block}_{rank}``, a rank's lists of a block as far as they
    are filled; ``result{block}_{rank}``, its share of the decided ones. Each says which plan it
    follows, and none of another plan is read.

    Args:
        plan: The sizes of the search.
        engine: Compares the pairs of a tile.
        progress: Where unfinished work is committed. Several ranks need it to hand their lists to
            each other.
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
        if rank == 0:
            yield own
            for other in range(1, self.ranks.world_size):
                yield Decided(**self._stored(f"result{number}_{other}"))

    def _search(
        self, number: int, start: int, stop: int, bar: tqdm, finished: Decided | None
    ) -> Decided:
        """Return the final lists of this rank's share of a block.

        Args:
            number: Number of the block.
            start: First row.
            stop: Row after the last one.
            bar: Shows the pairs that are done.
            finished: The lists, where an earlier run has committed them; the others may need this
                rank all the same.
        """
        if finished is None:
            lists = self.fill(number, start, stop, bar)
        else:
            for _ in range(2):  # the other ranks share their thresholds twice
                self.ranks.maximum(np.zeros(stop - start, np.float32))
        self.ranks.barrier()  # after it the lists of all ranks are committed
        if finished is None:
            finished = self._decide(number, start, stop, lists)
            self._save_result(number, finished)
        return finished

    def _save_result(self, number: int, decided: Decided) -> None:
        several_blocks = len(self.plan.list_blocks()) > 1
        if self.progress and (self.ranks.world_size > 1 or several_blocks):
            _save_plan(self.progress, self.plan, self.engine.data.row_number)
            self._save(f"result{number}_{self.ranks.rank}", **decided._asdict())

    def _own_tiles(self, start: int, stop: int) -> list[Tile]:
        """Return this rank's tiles of a block."""
        return own_tiles(self.grid.tiles(start, stop), self.ranks)

    def fill(self, number: int, start: int, stop: int, bar: tqdm) -> CandidateLists:
        """Return lists filled from this rank's tiles, committed where other ranks wait for them.

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
        if self.progress and self.ranks.world_size > 1:
            self._share_thresholds(lists)
            raise_thresholds(self.engine.data, lists)
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

    def _decide(self, number: int, start: int, stop: int, lists: CandidateLists) -> Decided:
        """Return the final lists of this rank's share, from what every rank put into them."""
        top, bottom = (row - start for row in self.ranks.share(start, stop))
        lists = list_rows(lists, top, bottom)
        others = (rank for rank in range(self.ranks.world_size) if rank != self.ranks.rank)
        packed = [
            packed_rows(self._stored(f"lists{number}_{rank}"), top, bottom) for rank in others
        ]
        lists = merge(lists, packed) if packed else lists
        capacity = lists.column.shape[1]
        for first, end in self.paging.pieces(0, bottom - top, reads=capacity + 1):
            self.paging.expect((end - first) * (capacity + 1))
            settle(self.engine.data, list_rows(lists, first, end))
        decided = decide_lists(self.engine.data, lists)
        overflowed = np.flatnonzero(lists.overflowed)
        if len(overflowed):
            rows, last_key = overflowed + lists.first_row, decided.last_key[overflowed]
            decided.removed[overflowed] = self._count_removed(rows, last_key)
        return decided

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
        if stored is None or not self._is_ours(stored):
            return None
        return stored

    def _stored(self, name: str) -> dict[str, np.ndarray]:
        """Return what another rank has committed before the last barrier."""
        assert self.progress is not None
        stored = self.progress.load_others(name)
        if not self._is_ours(stored):
            raise mismatch(
                "a process of this run searched by another plan",
                where=str(self.progress.folder / name),
                fix="start all processes with the same command",
            )
        return stored

    def _is_ours(self, stored: dict[str, np.ndarray]) -> bool:
        """Take the hash of the plan out of a piece, and compare it."""
        return np.array_equal(stored.pop("plan", np.zeros(0)), self._plan_hash)


def _hash(followed: list[Any], order: np.ndarray) -> np.ndarray:
    """Return the sha256 of what decides the meaning of committed lists, (32,) uint8."""
    digest = hashlib.sha256(json.dumps(followed).encode())
    digest.update(np.ascontiguousarray(order).data)
    return np.frombuffer(digest.digest(), np.uint8)
