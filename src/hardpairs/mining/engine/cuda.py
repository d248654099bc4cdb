"""The CUDA engine: the device multiplies and finds candidate pairs, the host decides them.

The device holds all rows in float16 and one block of similarities for each modality. It holds no
list, only a copy of the thresholds. Tiles go to it in batches. While it works on a batch, the host
offers the pairs of the batch before to the lists (``kernel.offer_pairs``), through the same
compiled code as the CPU engine and therefore with the same result. Thresholds on the device are one
or two batches old: that makes too many candidates, never too few.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from hardpairs.core.errors import Exit, UserError
from hardpairs.mining.engine import kernel
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
from hardpairs.mining.engine.error_bound import (
    FLOAT16_ROUNDING,
    FLOAT16_UNDERFLOW,
    NORM_ROUNDING,
    similarity_error,
)
from hardpairs.mining.engine.kernel import CandidateLists, Data, Pairs
from hardpairs.mining.engine.lists import RANGES_PER_THREAD, run_ranges
from hardpairs.mining.options import CROSS
from hardpairs.mining.plan import Tile

CAPACITY = 1 << 24
"""Candidate pairs that a batch may bring; one that brings more is done again in smaller tiles."""
MOST_TILES = 16
"""Tiles of a batch: with more, thresholds would be old."""
UPLOAD_ROWS = 1 << 16


class HalfProducts:
    """Similarities of two ranges of rows in float16, added up in float32.

    Args:
        units: (M, D) float32 unit vectors of one or two modalities.
        block: Most rows and columns of a block, for which memory is allocated here.
        device: Where the products are computed.
        crossed: Images are multiplied with captions and captions with images, in one space.
    """

    def __init__(
        self, units: list[np.ndarray], block: int, device: torch.device, crossed: bool = False
    ) -> None:
        self.block, self.device = block, device
        halves = [half_rows(unit, device) for unit in units]
        self.rows = [rows for rows, _ in halves]
        self.columns = self.rows[::-1] if crossed else self.rows
        largest = [error for _, error in halves]
        if crossed:
            largest = [max(largest)] * 2
        self.errors = [
            similarity_error(rows.shape[1], error) + FLOAT16_UNDERFLOW
            for rows, error in zip(self.rows, largest, strict=True)
        ]
        self._out = [torch.empty(block * block, dtype=torch.float16, device=device) for _ in units]

    def __call__(self, rows: slice | torch.Tensor, columns: slice) -> list[torch.Tensor]:
        """Return (m, n) float16 for each modality of the rows, valid until the next call."""
        return [
            _multiply(left[rows], right[columns], out)
            for left, right, out in zip(self.rows, self.columns, self._out, strict=True)
        ]

    def within_modalities(self, rows: slice, columns: slice) -> list[torch.Tensor]:
        """Return (m, n) float16 similarities within each modality, in memory of their own."""
        size = (rows.stop - rows.start) * (columns.stop - columns.start)
        return [_multiply(side[rows], side[columns], side.new_empty(size)) for side in self.rows]


def half_rows(unit: np.ndarray, device: torch.device) -> tuple[torch.Tensor, float]:
    """Return (M, D) float32 rows as float16 on the device, and the largest |rounded row - row|."""
    halves = torch.empty(unit.shape, dtype=torch.float16, device=device)
    largest = torch.zeros((), device=device)
    for start in range(0, len(unit), UPLOAD_ROWS):
        rows = torch.from_numpy(unit[start : start + UPLOAD_ROWS]).to(device)
        rounded = halves[start : start + UPLOAD_ROWS].copy_(rows)
        distances = (rows - rounded).norm(dim=1)  # the differences are exact
        largest = torch.maximum(largest, distances.max())
    return halves, float(largest) * NORM_ROUNDING


def _multiply(left: torch.Tensor, right: torch.Tensor, buffer: torch.Tensor) -> torch.Tensor:
    out = buffer[: len(left) * len(right)].view(len(left), len(right))
    if left.is_cuda:
        with _sums_in_float32():
            return torch.mm(left, right.T, out=out)
    return out.copy_(left.float() @ right.float().T)


@contextlib.contextmanager
def _sums_in_float32() -> Iterator[None]:
    """Keep cuBLAS from adding parts of a product in float16, which the error bound excludes."""
    settings = torch.backends.cuda.matmul
    names = ("allow_fp16_accumulation", "allow_fp16_reduced_precision_reduction")
    before = [getattr(settings, name) for name in names]
    for name in names:
        setattr(settings, name, False)
    try:
        yield
    finally:
        for name, value in zip(names, before, strict=True):
            setattr(settings, name, value)


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
        units: (M, D) float32 unit vectors of one or two modalities.
        device: ``cuda`` is this process's own device (torchrun's local rank).
        tile: Most rows of a block; halved until the blocks fit into the device's memory.
    """

    def __init__(self, data: Data, units: list[np.ndarray], device: str, tile: int) -> None:
        self.data, self.device = data, own_device(device)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # where triton starts its kernels
        self.products, self._buffers = self._allocate(units, tile)
        errors = [*self.products.errors, 0.0][:2]
        self.errors = np.array(errors)
        self.values = code_values(torch.float16)
        tables = torch.from_numpy(factor_tables(data, errors, self.values, FLOAT16_ROUNDING))
        self.bounds = ScoreBounds(
            data.mode, data.weight, (errors[0], errors[1]), tables.to(self.device)
        )
        self.groups = torch.from_numpy(data.groups).to(self.device)
        self.append_candidates = _fastest_append(self.device)
        on_cuda = self.device.type == "cuda"
        self._host_buffer = CandidateBuffer(CAPACITY, "cpu", pinned=on_cuda)
        self._copy_stream = torch.cuda.Stream(self.device) if on_cuda else None  # type: ignore[no-untyped-call]
        self._lists: CandidateLists | None = None
        self._waiting: list[Tile] = []
        self._running: _Batch | None = None
        self._batch_tiles, self._turn = 1, 0

    def _allocate(
        self, units: list[np.ndarray], block: int
    ) -> tuple[HalfProducts, list[CandidateBuffer]]:
        """Allocate memory on the device; halve ``block`` until it fits."""
        while True:
            try:
                return self._allocate_once(units, block)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if block <= SMALLEST_BLOCK:
                    needed = sum(2 * unit.size for unit in units) + 24 * CAPACITY
                    raise UserError(
                        Exit.RESOURCES,
                        "the device has no room for the rows in float16 and a block: "
                        f"{needed / 1e9:.1f} GB and more",
                        where=str(self.device),
                        fix="search in a pool with `approx`, or on the CPU with `device`",
                    ) from None
            block //= 2
            print(
                f"out of memory on {self.device}: starting with blocks of {block} rows",
                file=sys.stderr,
            )

    def _allocate_once(
        self, units: list[np.ndarray], block: int
    ) -> tuple[HalfProducts, list[CandidateBuffer]]:
        """Allocate memory for a size of blocks; what an error leaves is freed with it."""
        buffers = [CandidateBuffer(CAPACITY, self.device) for _ in range(2)]
        crossed = self.data.mode == CROSS
        products = HalfProducts(units, block, self.device, crossed=crossed)
        # What sorting and first thresholds need: once allocated, torch keeps it.
        scratch = 6 * CAPACITY + 32 * ROWS_AT_ONCE * min(block, THRESHOLD_COLUMNS)
        torch.empty(scratch, dtype=torch.float32, device=self.device)
        return products, buffers

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
        thresholds = [pair for tile in tiles for pair in self._scan(tile, buffer)]
        done = None
        if self._copy_stream is not None:
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(torch.cuda.current_stream(self.device))
        return _Batch(tiles, buffer, thresholds, done)

    def _scan(self, tile: Tile, buffer: CandidateBuffer) -> list[tuple[slice, torch.Tensor]]:
        """Find the candidate pairs of one tile; return the first thresholds that it gave."""
        rows, columns = slice(tile.top, tile.bottom), slice(tile.left, tile.right)
        first, second = _both(self.products(rows, columns))
        thresholds = self._first_thresholds(first, second, tile.top, tile.left)
        if tile.both:
            thresholds += self._first_thresholds(first.T, second.T, tile.left, tile.top)
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
        self, first: torch.Tensor, second: torch.Tensor, row: int, column: int
    ) -> list[tuple[slice, torch.Tensor]]:
        """Give a threshold to rows that have met no block yet."""
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
                rows, columns = slice(row + start, row + part.stop), slice(column, column + width)
                one, other = self.products.within_modalities(rows, columns)
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
            if count > CAPACITY:
                again = batch.tiles if len(batch.tiles) > 1 else quarters(batch.tiles[0])
                self._waiting, self._batch_tiles = again + self._waiting, 1
                return
            pairs = self._fetch(batch.candidates, count)
        if count > CAPACITY // 2:
            self._batch_tiles = max(1, self._batch_tiles // 2)
        elif count < CAPACITY // 8:
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
            numbers = torch.from_numpy(rows[part]).to(self.device)
            side = BlockSide(0, 0, torch.from_numpy(least[part]).to(self.device))
            waiting = [(left, min(left + block, stop)) for left in range(start, stop, block)]
            while waiting:
                left, right = waiting.pop()
                first, second = _both(self.products(numbers, slice(left, right)))
                buffer.count.zero_()
                self.append_candidates(first, second, self.bounds, side, BlockSide(left), buffer)
                count = int(buffer.count)
                if count > CAPACITY:
                    middle = (left + right) // 2
                    waiting += [(left, middle), (middle, right)]
                    continue
                pairs = self._fetch(buffer, count)
                arguments = self.data, rows[part], pairs, last_key[part], removed[part]
                run_ranges(kernel.count_removed_pairs, _cuts(pairs.slots), 0, *arguments)

    def seconds_per_pair(self, rows: int) -> float:
        """Return the seconds of one pair's products, measured on a block of at most ``rows``."""
        return seconds_per_pair(self.products, min(self.products.block, rows))


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
