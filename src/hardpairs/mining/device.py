"""One process's pass over its tiles on an accelerator: the device multiplies and finds pairs that may belong, the host decides.

The device holds all rows in float16 and one block of similarities for each modality; no list is on it, only a copy of the thresholds. Tiles go
to it in batches. While it works on a batch, the host offers the pairs of the batch before to the lists (``kernel.offer_pairs``), through
the same compiled code as a search on the CPU, and so with the same result. Thresholds on the device are a batch or two old: that makes
pairs too many, never too few.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from hardpairs.core.errors import Exit, UserError
from hardpairs.mining import kernel
from hardpairs.mining.bound import similarity_error
from hardpairs.mining.hits import ROUNDING, UNDERFLOW, Bounds, Hits, Side, append_hits
from hardpairs.mining.plan import Tile
from hardpairs.mining.seeds import COLUMNS, ROWS_AT_ONCE, first_thresholds
from hardpairs.mining.sweep import (
    SMALLEST_BLOCK,
    factor_tables,
    in_pieces,
    is_out_of_memory,
    quarters,
)

CAPACITY = 1 << 24
"""Pairs that a batch may find; one that finds more is done again in parts."""
MOST_TILES = 16
"""Tiles of a batch: more would make thresholds old."""
PIECES = 2
"""Pieces of a batch's pairs per thread."""
UPLOAD_ROWS = 1 << 16


class HalfProducts:
    """Similarities of two ranges of rows in float16, added up in float32.

    Args:
        units: (M, D) float32 unit rows of one or two modalities. block: most rows and columns of a block, whose room is made here.
    """

    def __init__(self, units: list[np.ndarray], block: int, device: torch.device) -> None:
        self.block, self.device = block, device
        halves = [half_rows(unit, device) for unit in units]
        self.rows = [rows for rows, _ in halves]
        self.errors = [similarity_error(rows.shape[1], error) + UNDERFLOW for rows, error in halves]
        self._out = [torch.empty(block * block, dtype=torch.float16, device=device) for _ in units]

    def __call__(self, rows: slice | torch.Tensor, columns: slice) -> list[torch.Tensor]:
        """(m, n) float16 for each modality; valid until the next call."""
        return [
            _multiply(halves[rows], halves[columns], out)
            for halves, out in zip(self.rows, self._out, strict=True)
        ]


def half_rows(unit: np.ndarray, device: torch.device) -> tuple[torch.Tensor, float]:
    """``unit`` (M, D) float32 as float16 on the device, and the largest |rounded row - row|."""
    halves = torch.empty(unit.shape, dtype=torch.float16, device=device)
    largest = torch.zeros((), device=device)
    for start in range(0, len(unit), UPLOAD_ROWS):
        rows = torch.from_numpy(unit[start : start + UPLOAD_ROWS]).to(device)
        rounded = halves[start : start + UPLOAD_ROWS].copy_(rows)
        largest = torch.maximum(
            largest, (rows - rounded).norm(dim=1).max()
        )  # the differences are exact
    return halves, float(largest) * (1 + 2.0**-10)  # for the norm in float32


def _multiply(left: torch.Tensor, right: torch.Tensor, buffer: torch.Tensor) -> torch.Tensor:
    out = buffer[: len(left) * len(right)].view(len(left), len(right))
    if left.is_cuda:
        with _sums_in_float32():
            return torch.mm(left, right.T, out=out)
    return out.copy_(left.float() @ right.float().T)


@contextlib.contextmanager
def _sums_in_float32():
    """Keeps cuBLAS from adding parts of a product in float16, which ``hardpairs.mining.bound`` does not allow for."""
    flags, names = (
        torch.backends.cuda.matmul,
        ("allow_fp16_accumulation", "allow_fp16_reduced_precision_reduction"),
    )
    before = [getattr(flags, name) for name in names]
    for name in names:
        setattr(flags, name, False)
    try:
        yield
    finally:
        for name, value in zip(names, before, strict=True):
            setattr(flags, name, value)


@dataclass(frozen=True)
class _Batch:
    """Tiles on their way: where their pairs go, first thresholds by slots, and what tells that all is done."""

    tiles: list[Tile]
    hits: Hits
    seeds: list[tuple[slice, torch.Tensor]]
    done: torch.cuda.Event | None


class DeviceSweep:
    """Offers tiles of pairs to lists, like ``hardpairs.mining.sweep.Sweep``; what a tile brings is in them only after ``flush``.

    Args:
        data: as the kernel reads it. units: its rows, by modality. depth: K. device: "cuda" is this process's own (torchrun's local rank).
        tile: most rows of a block; half of it, or less, where the device's memory has no room for more.
    """

    def __init__(
        self, data: kernel.Data, units: list[np.ndarray], depth: int, device: str, tile: int
    ) -> None:
        self.data, self.depth, self.device = data, depth, own_device(device)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # where triton starts its kernels
        self.products, self._hits = self._with_room(units, tile)
        errors = [*self.products.errors, 0.0][:2]
        self.errors = np.array(errors)
        self.values = (
            torch.arange(1 << 16, dtype=torch.int32)
            .to(torch.uint16)
            .view(torch.float16)
            .float()
            .numpy()
        )
        tables = torch.from_numpy(factor_tables(data, errors, self.values, ROUNDING)).to(
            self.device
        )
        self.bounds = Bounds(data.mode, data.weight, (errors[0], errors[1]), tables)
        self.groups = torch.from_numpy(data.groups).to(self.device)
        self.append_hits = _fastest_append_hits(self.device)
        self._landing = Hits(CAPACITY, "cpu", pinned=self.device.type == "cuda")
        self._side = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self._lists: kernel.State | None = None
        self._waiting: list[Tile] = []
        self._running: _Batch | None = None
        self._together, self._turn = 1, 0

    def _with_room(self, units: list[np.ndarray], block: int) -> tuple[HalfProducts, list[Hits]]:
        """Room on the device, with the largest halves of ``block`` that fit."""
        while True:
            try:
                hits = [Hits(CAPACITY, self.device) for _ in range(2)]
                products = HalfProducts(units, block, self.device)
                torch.empty(
                    6 * CAPACITY + 32 * ROWS_AT_ONCE * min(block, COLUMNS),
                    dtype=torch.float32,
                    device=self.device,
                )
                return (
                    products,
                    hits,
                )  # what sorting and first thresholds need was there, and stays with torch
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if block <= SMALLEST_BLOCK:
                    needed = sum(2 * unit.size for unit in units) + 24 * CAPACITY
                    raise UserError(
                        Exit.RESOURCES,
                        f"the device has no room for the rows in float16 and a block: {needed / 1e9:.1f} GB and more",
                        where=str(self.device),
                        fix="search in a pool with --approx, or on the CPU with --device cpu",
                    ) from None
            block //= 2
            print(
                f"out of memory on {self.device}: starting with blocks of {block} rows",
                file=sys.stderr,
            )

    def tile(self, tile: Tile, lists: kernel.State, offset: int) -> None:
        """Takes a tile, to be worked on with others."""
        if lists is not self._lists:
            self._lists, self._offset = lists, offset
            self._thresholds = torch.from_numpy(lists.threshold).to(self.device, copy=True)
            self._seeded = np.full(
                len(lists.threshold), len(self.data.margin) > 0
            )  # margins are not known here
        self._waiting += _parts(tile, self.products.block)
        if len(self._waiting) >= self._together:
            self._step()

    def flush(self) -> None:
        """Works on all tiles taken so far."""
        while self._waiting or self._running:
            self._step()

    def _step(self) -> None:
        """Sends waiting tiles to the device, then offers what the batch before has found, while the device works."""
        tiles, self._waiting = self._waiting[: self._together], self._waiting[self._together :]
        before, self._running = self._running, self._send(tiles) if tiles else None
        if before:
            self._receive(before)

    def _send(self, tiles: list[Tile]) -> _Batch:
        assert self._lists is not None
        self._turn = 1 - self._turn
        hits = self._hits[self._turn]
        hits.count.zero_()
        with self._aside():
            fresh = torch.from_numpy(self._lists.threshold).to(self.device)
        if self._side is not None:
            fresh.record_stream(torch.cuda.current_stream(self.device))
        torch.maximum(self._thresholds, fresh, out=self._thresholds)
        seeds = [seed for tile in tiles for seed in self._look(tile, hits)]
        done = None
        if self._side is not None:
            done = torch.cuda.Event()
            done.record(torch.cuda.current_stream(self.device))
        return _Batch(tiles, hits, seeds, done)

    def _look(self, tile: Tile, hits: Hits) -> list[tuple[slice, torch.Tensor]]:
        """Finds the pairs of one tile; returns the first thresholds it gave."""
        first, second = _both(
            self.products(slice(tile.top, tile.bottom), slice(tile.left, tile.right))
        )
        seeds = self._seed(first, second, tile.top, tile.left)
        if tile.both:
            seeds += self._seed(first.T, second.T, tile.left, tile.top)
        rows = self._side_of(tile.top, tile.bottom, True)
        columns = self._side_of(tile.left, tile.right, tile.both)
        self.append_hits(first, second, self.bounds, rows, columns, hits)
        return seeds

    def _side_of(self, start: int, stop: int, lists: bool) -> Side:
        slot = start - self._offset
        return (
            Side(start, slot, self._thresholds[slot : slot + stop - start])
            if lists
            else Side(start)
        )

    def _seed(
        self, first: torch.Tensor, second: torch.Tensor, row: int, column: int
    ) -> list[tuple[slice, torch.Tensor]]:
        """Gives rows that have met no block yet a threshold."""
        slots = slice(row - self._offset, row - self._offset + len(first))
        if self._seeded[slots].all():
            return []
        self._seeded[slots] = True
        width = min(first.shape[1], COLUMNS)
        limits = self.data.limits.tolist()
        for start in range(0, len(first), ROWS_AT_ONCE):
            part = slice(start, min(start + ROWS_AT_ONCE, len(first)))
            related = self._related(row + start, row + part.stop, column, column + width)
            found = first_thresholds(
                first[part, :width], second[part, :width], self.bounds, limits, related, self.depth
            )
            thresholds = self._thresholds[slots][part]
            torch.maximum(thresholds, found, out=thresholds)
        return [(slots, self._thresholds[slots].clone())]

    def _related(self, top: int, bottom: int, left: int, right: int) -> torch.Tensor:
        """Which pairs are one row, or of one group."""
        rows, columns = (
            torch.arange(top, bottom, device=self.device),
            torch.arange(left, right, device=self.device),
        )
        related = rows[:, None] == columns
        for group in self.groups.T:
            related |= group[top:bottom, None] == group[left:right]
        return related

    def _receive(self, batch: _Batch) -> None:
        """Offers what a batch has found to the lists; one that found too much is to be done again in parts."""
        assert self._lists is not None
        with self._aside(batch.done):
            for part, thresholds in batch.seeds:
                np.maximum(
                    self._lists.threshold[part],
                    thresholds.cpu().numpy(),
                    out=self._lists.threshold[part],
                )
            count = int(batch.hits.count)
            if count > CAPACITY:
                again = batch.tiles if len(batch.tiles) > 1 else quarters(batch.tiles[0])
                self._waiting, self._together = again + self._waiting, 1
                return
            slots, others, codes = self._fetch(batch.hits, count)
        if count > CAPACITY // 2:
            self._together = max(1, self._together // 2)
        elif count < CAPACITY // 8:
            self._together = min(MOST_TILES, self._together * 2)
        common = (
            self.data,
            self._lists,
            self.depth,
            self._offset,
            slots,
            others,
            codes,
            self.values,
            ROUNDING,
            self.errors,
        )
        in_pieces(kernel.offer_pairs, _cuts(slots), self._lists.column.shape[1], *common)

    def _fetch(self, hits: Hits, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(slots, others, codes) on the host, by slot; valid until the next call."""
        slots, order = torch.sort(hits.slots[:count])
        landing = self._landing
        for room, found in (
            (landing.slots, slots),
            (landing.others, hits.others[:count][order]),
            (landing.codes, hits.codes[:count][order]),
        ):
            room[:count].copy_(found, non_blocking=True)
        if self._side is not None:
            torch.cuda.current_stream(self.device).synchronize()
        return (
            landing.slots[:count].numpy(),
            landing.others[:count].numpy(),
            landing.codes[:count].numpy().view(np.uint16),
        )

    @contextlib.contextmanager
    def _aside(self, after: torch.cuda.Event | None = None):
        """What is done here neither waits for the device's present batch nor holds it up."""
        if self._side is None:
            yield
            return
        with torch.cuda.stream(self._side):
            if after is not None:
                self._side.wait_event(after)
            yield

    def count_removed(
        self, rows: np.ndarray, pool: int, last: np.ndarray, removed: np.ndarray
    ) -> None:
        """See ``hardpairs.mining.sweep.Sweep.count_removed``."""
        least = np.empty(len(rows), np.float32)
        kernel.least_scores(last, least)
        block, hits = self.products.block, self._hits[0]
        for top in range(0, len(rows), block):
            part = slice(top, top + block)
            numbers = torch.from_numpy(rows[part]).to(self.device)
            side = Side(0, 0, torch.from_numpy(least[part]).to(self.device))
            waiting = [(left, min(left + block, pool)) for left in range(0, pool, block)]
            while waiting:
                left, right = waiting.pop()
                first, second = _both(self.products(numbers, slice(left, right)))
                hits.count.zero_()
                self.append_hits(first, second, self.bounds, side, Side(left), hits)
                count = int(hits.count)
                if count > CAPACITY:
                    waiting += [(left, (left + right) // 2), ((left + right) // 2, right)]
                    continue
                slots, others, _ = self._fetch(hits, count)
                in_pieces(
                    kernel.count_removed_pairs,
                    _cuts(slots),
                    0,
                    self.data,
                    rows[part],
                    slots,
                    others,
                    last[part],
                    removed[part],
                )


def own_device(device: str) -> torch.device:
    """ "cuda" under torchrun is the GPU of this process's local rank."""
    if device != "cuda":
        return torch.device(device)
    return torch.device(
        "cuda", int(os.environ.get("LOCAL_RANK", 0)) % max(1, torch.cuda.device_count())
    )


def _fastest_append_hits(device: torch.device) -> Callable[..., None]:
    if device.type != "cuda":
        return append_hits
    try:
        from hardpairs.mining import hits_triton
    except ImportError:
        print("triton is not installed: the search takes several times as long", file=sys.stderr)
        return append_hits
    return hits_triton.append_hits


def _both(blocks: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Two blocks; a single modality's stands twice and is read once."""
    return blocks[0], blocks[-1]


def _parts(tile: Tile, block: int) -> list[Tile]:
    if max(tile.bottom - tile.top, tile.right - tile.left) <= block:
        return [tile]
    return [part for quarter in quarters(tile) for part in _parts(quarter, block)]


def _cuts(slots: np.ndarray) -> list[int]:
    """Cuts of pairs sorted by slot into pieces for the threads, each slot's pairs in one."""
    pieces = PIECES * torch.get_num_threads()
    wanted = np.arange(1, pieces) * len(slots) // pieces
    return (
        np.unique(
            np.concatenate(([0], np.searchsorted(slots, slots[wanted]), [len(slots)]))
        ).tolist()
        if len(slots)
        else []
    )
