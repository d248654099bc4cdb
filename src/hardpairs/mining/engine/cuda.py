"""The CUDA engine: the device multiplies and finds candidate pairs, the host decides them.

The device holds rows in float16 (all of them, or those of some tiles while the others wait in the
host's memory) and one block of similarities for each modality. It holds no list, only a copy of the
thresholds. Tiles go to it in batches. While it works on a batch, the host offers the pairs of the
batch before to the lists (``kernel.offer_pairs``), through the same compiled code as the CPU engine
and therefore with the same result. Thresholds on the device are one or two batches old: that makes
too many candidates, never too few.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from hardpairs.core.errors import Exit, UserError
from hardpairs.mining.engine import candidates, kernel
from hardpairs.mining.engine.candidates import (
    ROWS_AT_ONCE,
    THRESHOLD_COLUMNS,
    BlockSide,
    CandidateBuffer,
    ScoreBounds,
    append_candidates,
    first_thresholds,
    sure_sides,
)
from hardpairs.mining.engine.cpu import (
    SMALLEST_BLOCK,
    code_values,
    factor_tables,
    is_out_of_memory,
    quarters,
    seconds_per_pair,
)
from hardpairs.mining.engine.device_memory import sort_scratch, threshold_scratch
from hardpairs.mining.engine.device_rows import (
    DeviceRows,
    ResidentRows,
    Sides,
    StreamedRows,
)
from hardpairs.mining.engine.error_bound import FLOAT16_ROUNDING
from hardpairs.mining.engine.half_products import HalfProducts, within_modalities
from hardpairs.mining.engine.kernel import CandidateLists, Data, Pairs
from hardpairs.mining.engine.lists import RANGES_PER_THREAD, run_ranges
from hardpairs.mining.options import CROSS
from hardpairs.mining.plan import Tile
from hardpairs.mining.unit_vectors import UnitVectors

MOST_TILES = 16
"""Tiles of a batch: with more, thresholds would be old."""


@dataclass(frozen=True)
class _Batch:
    """Tiles that the device works on.

    Attributes:
        tiles: The tiles.
        candidates: Receives their candidate pairs.
        thresholds: First thresholds that they gave, by slots.
        done: Tells when the device has finished them; ``None`` on a CPU.
    """

    tiles: list[Tile]
    candidates: CandidateBuffer
    thresholds: list[tuple[slice, torch.Tensor]]
    done: torch.cuda.Event | None


class CudaEngine:
    """Offers tiles of pairs to lists on a device, see ``hardpairs.mining.engine.Engine``.

    The pairs of a tile are in the lists only after ``flush``.

    Args:
        data: What scores are made of.
        vectors: The unit vectors; stored in float16 where not all rows are on the device.
        device: ``cuda`` is this process's own device (torchrun's local rank).
        tile: Most rows of a block; halved until all that is needed fits into the device's memory.
        on_device: Rows that are on the device at a time, at least four tiles; 0 for all of them.
    """

    def __init__(
        self, data: Data, vectors: UnitVectors, device: str, tile: int, on_device: int = 0
    ) -> None:
        self.data, self.device = data, own_device(device)
        on_cuda = self.device.type == "cuda"
        if on_cuda:
            torch.cuda.set_device(self.device)  # where triton starts its kernels
        self._copy_stream = _copy_stream(self.device) if on_cuda else None
        self.products, self._buffers = self._allocate(vectors, tile, on_device // tile)
        errors = [*self.products.errors, 0.0][:2]
        self.errors = np.array(errors)
        self.values = code_values(torch.float16)
        tables = torch.from_numpy(factor_tables(data, errors, self.values, FLOAT16_ROUNDING))
        self.bounds = ScoreBounds(
            data.mode, data.weight, (errors[0], errors[1]), tables.to(self.device)
        )
        self.groups = torch.from_numpy(data.groups).to(self.device)
        self.append_candidates = _fastest_append(self.device)
        self._host_buffer = CandidateBuffer(candidates.CAPACITY, "cpu", pinned=on_cuda)
        self._lists: CandidateLists | None = None
        self._waiting: list[Tile] = []
        self._running: _Batch | None = None
        self._batch_tiles, self._turn = 1, 0

    def _allocate(
        self, vectors: UnitVectors, block: int, ranges: int
    ) -> tuple[HalfProducts, list[CandidateBuffer]]:
        """Allocate memory on the device; halve ``block`` until it fits.

        Args:
            vectors: The unit vectors.
            block: Most rows of a block, and of a range of rows.
            ranges: Ranges of rows that are on the device; 0 for all rows.
        """
        while True:
            try:
                return self._allocate_once(vectors, block, ranges)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if block <= SMALLEST_BLOCK:
                    raise UserError(
                        Exit.RESOURCES,
                        "the device has no room for the rows in float16 and a block",
                        where=str(self.device),
                        fix="let the host have the rows with a smaller `max_device_memory`, or "
                        "search on the CPU with `device`",
                    ) from None
            block //= 2
            print(
                f"out of memory on {self.device}: starting with blocks of {block} rows",
                file=sys.stderr,
            )

    def _allocate_once(
        self, vectors: UnitVectors, block: int, ranges: int
    ) -> tuple[HalfProducts, list[CandidateBuffer]]:
        """Allocate memory for a size of blocks; what an error leaves is freed with it."""
        # Once allocated, torch keeps it for the stream that it was allocated for.
        torch.empty(threshold_scratch(block), dtype=torch.float32, device=self.device)
        with self._on_copy_stream():
            torch.empty(sort_scratch(), dtype=torch.float32, device=self.device)
        buffers = [CandidateBuffer(candidates.CAPACITY, self.device) for _ in range(2)]
        rows: DeviceRows
        if ranges:
            stored = vectors.multiplied, vectors.errors
            rows = StreamedRows(*stored, self.device, ranges, block)
        else:
            rows = ResidentRows(vectors.unit, self.device)
        crossed = self.data.mode == CROSS
        return HalfProducts(rows, vectors.widths, block, self.device, crossed=crossed), buffers

    def offer(self, tile: Tile, lists: CandidateLists) -> None:
        """Take a tile, which is worked on in a batch with others."""
        if lists is not self._lists:
            self._lists = lists
            self._thresholds = torch.from_numpy(lists.threshold).to(self.device, copy=True)
            # Margins are not known here: with one, rows get no first threshold.
            self._has_threshold = np.full(len(lists.threshold), len(self.data.margin) > 0)
        self._waiting += _fitting(tile, self.products.block)
        if len(self._waiting) >= self._batch_tiles:
            self._step()

    def flush(self) -> None:
        """Work on all tiles taken so far."""
        while self._waiting or self._running:
            self._step()

    def _step(self) -> None:
        """Send waiting tiles to the device; meanwhile offer the pairs of the batch before."""
        tiles = self._waiting[: self._batch_tiles]
        self._waiting = self._waiting[self._batch_tiles :]
        before, self._running = self._running, self._send(tiles) if tiles else None
        if before:
            self._receive(before)

    def _send(self, tiles: list[Tile]) -> _Batch:
        assert self._lists is not None
        self._turn = 1 - self._turn
        buffer = self._buffers[self._turn]
        buffer.count.zero_()
        with self._on_copy_stream():
            fresh = torch.from_numpy(self._lists.threshold).to(self.device)
        if self._copy_stream is not None:
            fresh.record_stream(torch.cuda.current_stream(self.device))
        torch.maximum(self._thresholds, fresh, out=self._thresholds)
        thresholds = []
        for tile, then in zip(tiles, [*tiles[1:], *self._waiting[:1], None], strict=False):
            thresholds += self._scan(tile, then, buffer)
        done = None
        if self._copy_stream is not None:
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(torch.cuda.current_stream(self.device))
        return _Batch(tiles, buffer, thresholds, done)

    def _scan(
        self, tile: Tile, then: Tile | None, buffer: CandidateBuffer
    ) -> list[tuple[slice, torch.Tensor]]:
        """Find the candidate pairs of one tile; return the first thresholds that it gave.

        Args:
            tile: The tile.
            then: The next one, whose rows may come meanwhile.
            buffer: Receives the pairs.
        """
        rows, columns = slice(tile.top, tile.bottom), slice(tile.left, tile.right)
        ranges = [] if then is None else [(then.top, then.bottom), (then.left, then.right)]
        first, second = _both(self.products(rows, columns, ranges))
        left, right = self.products.sides
        thresholds = self._first_thresholds(first, second, (left, right), tile.top, tile.left)
        if tile.both:
            mirrored = first.T, second.T, (right, left)
            thresholds += self._first_thresholds(*mirrored, tile.left, tile.top)
        row_side = self._side(tile.top, tile.bottom, True)
        column_side = self._side(tile.left, tile.right, tile.both)
        self.append_candidates(first, second, self.bounds, row_side, column_side, buffer)
        return thresholds

    def _side(self, start: int, stop: int, has_lists: bool) -> BlockSide:
        assert self._lists is not None
        if not has_lists:
            return BlockSide(start)
        slot = start - self._lists.first_row
        return BlockSide(start, slot, self._thresholds[slot : slot + stop - start])

    def _first_thresholds(
        self, first: torch.Tensor, second: torch.Tensor, sides: Sides, row: int, column: int
    ) -> list[tuple[slice, torch.Tensor]]:
        """Give a threshold to rows that have met no block yet.

        Args:
            first: (m, n) float16 similarities of the first modality.
            second: The same of the second one.
            sides: Rows and columns of the block.
            row: Number of the first row.
            column: Number of the first column.
        """
        assert self._lists is not None
        start = row - self._lists.first_row
        slots = slice(start, start + len(first))
        if self._has_threshold[slots].all():
            return []
        self._has_threshold[slots] = True
        width = min(first.shape[1], THRESHOLD_COLUMNS)
        limits = self.data.limits.tolist()
        for start in range(0, len(first), ROWS_AT_ONCE):
            part = slice(start, min(start + ROWS_AT_ONCE, len(first)))
            related = self._related(row + start, row + part.stop, column, column + width)
            if self.data.mode == CROSS:
                rows, columns = (
                    [side[part] for side in sides[0]],
                    [side[:width] for side in sides[1]],
                )
                one, other = within_modalities(rows, columns)
                related |= ~sure_sides(one, other, self.bounds, limits)
            lowest = first_thresholds(
                first[part, :width],
                second[part, :width],
                self.bounds,
                limits,
                related,
                self.data.depth,
            )
            thresholds = self._thresholds[slots][part]
            torch.maximum(thresholds, lowest, out=thresholds)
        return [(slots, self._thresholds[slots].clone())]

    def _related(self, top: int, bottom: int, left: int, right: int) -> torch.Tensor:
        """Return which pairs are one row, or of one group, (rows, columns) bool."""
        rows = torch.arange(top, bottom, device=self.device)
        related = rows[:, None] == torch.arange(left, right, device=self.device)
        for group in self.groups.T:
            related |= group[top:bottom, None] == group[left:right]
        return related

    def _receive(self, batch: _Batch) -> None:
        """Offer the candidate pairs of a batch; redo a batch with too many in smaller tiles."""
        assert self._lists is not None
        with self._on_copy_stream(batch.done):
            for slots, thresholds in batch.thresholds:
                own = self._lists.threshold[slots]
                np.maximum(own, thresholds.cpu().numpy(), out=own)
            count = int(batch.candidates.count)
            if count > candidates.CAPACITY:
                again = batch.tiles if len(batch.tiles) > 1 else quarters(batch.tiles[0])
                self._waiting, self._batch_tiles = again + self._waiting, 1
                return
            pairs = self._fetch(batch.candidates, count)
        if count > candidates.CAPACITY // 2:
            self._batch_tiles = max(1, self._batch_tiles // 2)
        elif count < candidates.CAPACITY // 8:
            self._batch_tiles = min(MOST_TILES, self._batch_tiles * 2)
        capacity = self._lists.column.shape[1]
        run_ranges(kernel.offer_pairs, _cuts(pairs.slots), capacity, self.data, self._lists, pairs)

    def _fetch(self, buffer: CandidateBuffer, count: int) -> Pairs:
        """Return the pairs of a buffer on the host, by slot; valid until the next call."""
        slots, order = torch.sort(buffer.slots[:count])
        others, codes = buffer.others[:count][order], buffer.codes[:count][order]
        host = self._host_buffer
        host.slots[:count].copy_(slots, non_blocking=True)
        host.others[:count].copy_(others, non_blocking=True)
        host.codes[:count].copy_(codes, non_blocking=True)
        if self._copy_stream is not None:
            torch.cuda.current_stream(self.device).synchronize()
        return Pairs(
            host.slots[:count].numpy(),
            host.others[:count].numpy(),
            host.codes[:count].numpy().view(np.uint16),
            self.values,
            FLOAT16_ROUNDING,
            self.errors,
        )

    @contextlib.contextmanager
    def _on_copy_stream(self, after: torch.cuda.Event | None = None) -> Iterator[None]:
        """Run what neither waits for the device's present batch nor delays it."""
        if self._copy_stream is None:
            yield
            return
        with torch.cuda.stream(self._copy_stream):
            if after is not None:
                self._copy_stream.wait_event(after)
            yield

    def count_removed(
        self,
        rows: np.ndarray,
        columns: tuple[int, int],
        last_key: np.ndarray,
        removed: np.ndarray,
    ) -> None:
        """Count what filters removed from lists that had no room for removed entries."""
        least = np.empty(len(rows), np.float32)
        kernel.thresholds_of_keys(last_key, least)
        block, buffer = self.products.block, self._buffers[0]
        start, stop = columns
        for top in range(0, len(rows), block):
            part = slice(top, top + block)
            gathered = self.products.rows.gather(rows[part])
            side = BlockSide(0, 0, torch.from_numpy(least[part]).to(self.device))
            waiting = [(left, min(left + block, stop)) for left in range(start, stop, block)]
            while waiting:
                left, right = waiting.pop()
                first, second = _both(self.products(gathered, slice(left, right), waiting[-1:]))
                buffer.count.zero_()
                self.append_candidates(first, second, self.bounds, side, BlockSide(left), buffer)
                count = int(buffer.count)
                if count > candidates.CAPACITY:
                    middle = (left + right) // 2
                    waiting += [(left, middle), (middle, right)]
                    continue
                pairs = self._fetch(buffer, count)
                arguments = self.data, rows[part], pairs, last_key[part], removed[part]
                run_ranges(kernel.count_removed_pairs, _cuts(pairs.slots), 0, *arguments)

    def seconds_per_pair(self, rows: int) -> float:
        """Return the seconds of one pair's products, measured on a block of at most ``rows``."""
        seconds = seconds_per_pair(self.products, min(self.products.block, rows))
        self.products.rows.forget()  # in a ring, some of these are not here yet
        return seconds


@functools.cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    """Return a device's stream for results. Torch keeps memory for each stream that had some."""
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return stream


def own_device(device: str) -> torch.device:
    """Return a device by name; under torchrun, ``cuda`` is the GPU of this process's local rank."""
    if device != "cuda":
        return torch.device(device)
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    return torch.device("cuda", local_rank % max(1, torch.cuda.device_count()))


def _fastest_append(device: torch.device) -> Callable[..., None]:
    if device.type != "cuda":
        return append_candidates
    try:
        from hardpairs.mining.engine import candidates_triton
    except ImportError:
        print("triton is not installed: the search takes several times as long", file=sys.stderr)
        return append_candidates
    return candidates_triton.append_candidates


def _both(blocks: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two blocks; a single modality's stands for both and is read once."""
    return blocks[0], blocks[-1]


def _fitting(tile: Tile, block: int) -> list[Tile]:
    """Cut a tile into quarters until no side is longer than ``block``."""
    if max(tile.height, tile.width) <= block:
        return [tile]
    return [part for quarter in quarters(tile) for part in _fitting(quarter, block)]


def _cuts(slots: np.ndarray) -> list[int]:
    """Cut pairs sorted by slot into ranges for the threads, each slot's pairs in one range."""
    if not len(slots):
        return []
    ranges = RANGES_PER_THREAD * torch.get_num_threads()
    wanted = np.arange(1, ranges) * len(slots) // ranges
    inner = np.searchsorted(slots, slots[wanted])
    return [int(cut) for cut in np.unique(np.concatenate(([0], inner, [len(slots)])))]
