"""One process's pass over its tiles: similarities, then the compiled loops that offer them to the lists."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from hardpairs.core.threads import in_parallel
from hardpairs.mining import kernel
from hardpairs.mining.plan import Tile
from hardpairs.mining.products import Products, bits

SMALLEST_BLOCK = 64
PIECES = 2
"""Pieces of a loop per thread, since some rows have more to do than others."""


def empty_lists(rows: int, capacity: int, least: float) -> kernel.State:
    """Lists without an entry; nothing that scores below ``least`` will enter."""
    return kernel.State(
        column=np.empty((rows, capacity), np.int32),
        high=np.empty((rows, capacity), np.float32),
        low=np.empty((rows, capacity), np.float32),
        reason=np.empty((rows, capacity), np.int8),
        count=np.zeros(rows, np.int32),
        threshold=np.full(rows, kernel.nudged(least), np.float32),
        spilled=np.zeros(rows, np.uint8),
    )


def packed(lists: kernel.State) -> dict[str, np.ndarray]:
    """The entries of all lists one after the other, to be stored."""
    real = np.arange(lists.column.shape[1]) < lists.count[:, None]
    entries = {name: getattr(lists, name)[real] for name in ("column", "high", "low", "reason")}
    return {**entries, "count": lists.count, "threshold": lists.threshold, "spilled": lists.spilled}


def unpacked(stored: dict[str, np.ndarray], capacity: int) -> kernel.State:
    """Lists from what ``packed`` made of them."""
    lists = empty_lists(
        len(stored["count"]), max(capacity, int(stored["count"].max(initial=0))), 0.0
    )
    real = np.arange(lists.column.shape[1]) < stored["count"][:, None]
    for name in ("column", "high", "low", "reason"):
        getattr(lists, name)[real] = stored[name]
    return lists._replace(
        count=stored["count"], threshold=stored["threshold"], spilled=stored["spilled"]
    )


def part_of(stored: dict[str, np.ndarray], start: int, stop: int) -> dict[str, np.ndarray]:
    """Packed lists of rows [start, stop) alone."""
    ends = np.concatenate(([0], np.cumsum(stored["count"], dtype=np.int64)))
    entries = {
        name: stored[name][ends[start] : ends[stop]] for name in ("column", "high", "low", "reason")
    }
    return {
        **entries,
        **{name: stored[name][start:stop] for name in ("count", "threshold", "spilled")},
    }


def some_of(lists: kernel.State, start: int, stop: int) -> kernel.State:
    """Lists of rows [start, stop), which share their memory with all."""
    return kernel.State(*(array[start:stop] for array in lists))


def merged(own: kernel.State, parts: list[dict[str, np.ndarray]]) -> kernel.State:
    """Lists with what other processes put into those of the same rows from other tiles; in place, where there is room."""
    total = own.count + sum(part["count"].astype(np.int64) for part in parts)
    if total.max(initial=0) > own.column.shape[1]:
        own = unpacked(packed(own), int(total.max()))
    filled, starts = own.count.astype(np.int64), np.arange(len(total)) * own.column.shape[1]
    for part in parts:
        before = np.cumsum(part["count"], dtype=np.int64) - part["count"]
        places = np.repeat(starts + filled - before, part["count"]) + np.arange(len(part["column"]))
        for name in ("column", "high", "low", "reason"):
            getattr(own, name).ravel()[places] = part[name]  # a view: the table is in one piece
        filled += part["count"]
    threshold, spilled = (
        np.max([getattr(own, name), *(part[name] for part in parts)], axis=0)
        for name in ("threshold", "spilled")
    )
    return own._replace(count=filled.astype(np.int32), threshold=threshold, spilled=spilled)


def in_threads(loop: Callable[..., None], count: int, capacity: int, *arguments) -> None:
    """``loop(begin, end, scratch, *arguments)`` over [0, count) in pieces, in several threads."""
    threads = torch.get_num_threads()
    size = count if threads == 1 or count < 2 * kernel.CHUNK else -(-count // (threads * PIECES))
    in_pieces(loop, [*range(0, count, max(1, size)), count], capacity, *arguments)


def in_pieces(loop: Callable[..., None], cuts: list[int], capacity: int, *arguments) -> None:
    """``in_threads`` with pieces from each cut to the next one."""
    in_parallel(
        lambda begin, end: loop(begin, end, kernel.make_scratch(capacity), *arguments),
        cuts,
        cuts[1:],
    )


class Sweep:
    """Offers tiles of pairs to lists.

    Args:
        data: as the kernel reads it. products: makes blocks of similarities. depth: K.
    """

    def __init__(self, data: kernel.Data, products: Products, depth: int) -> None:
        self.data, self.products, self.depth = data, products, depth
        self.errors = np.array([*products.errors, 0.0][:2], np.float32)
        self.tables = factor_tables(data, products.errors, bfloat16_values(), kernel.ROUNDING)
        self._halving = threading.Lock()

    def tile(self, tile: Tile, lists: kernel.State, offset: int) -> None:
        """All pairs of a tile. A thread multiplies a block and offers it while it is in its cache; no two threads have rows or columns in
        common at a time, so that a list has one writer."""
        for parts in disjoint(tile, torch.get_num_threads()):
            in_parallel(lambda part: self._part(part, lists, offset), parts)

    def _part(self, part: Tile, lists: kernel.State, offset: int) -> None:
        """One thread's pairs, block by block; a block that does not fit into memory is halved."""
        scratch = kernel.make_scratch(lists.column.shape[1], self.products.block)
        waiting = [part]
        while waiting:
            part = waiting.pop()
            if max(part.bottom - part.top, part.right - part.left) > self.products.block:
                waiting += quarters(part)
                continue
            blocks = self._blocks(slice(part.top, part.bottom), slice(part.left, part.right))
            if blocks is None:
                waiting.append(part)
                continue
            first, second = _both(blocks)
            common = (
                self.data,
                lists,
                self.depth,
                offset,
                part.top,
                part.left,
                first,
                second,
                self.errors,
                self.tables,
            )
            kernel.sweep_rows(0, part.bottom - part.top, scratch, *common)
            if part.both:
                kernel.sweep_columns(0, part.right - part.left, scratch, *common)

    def flush(self) -> None:
        """Nothing is left to do; see ``hardpairs.mining.device``."""

    def count_removed(
        self, rows: np.ndarray, pool: int, last: np.ndarray, removed: np.ndarray
    ) -> None:
        """Counts again what filters removed from the lists of ``rows``, ahead of their ``last`` places, into ``removed``."""
        top = 0
        while top < len(rows):
            numbers, left = rows[top : top + self.products.block], 0
            counts = np.zeros((len(numbers), kernel.REASONS), np.int64)
            while left < pool:
                right = min(left + self.products.block, pool)
                blocks = self._blocks(
                    torch.from_numpy(numbers[: self.products.block]), slice(left, right)
                )
                if blocks is None or len(blocks[0]) < len(numbers):
                    break  # blocks are smaller now: these rows from the start
                first, second = _both(blocks)
                places = last[top : top + len(numbers)]
                arguments = (
                    self.data,
                    numbers,
                    left,
                    first,
                    second,
                    self.errors,
                    self.tables,
                    places,
                    counts,
                )
                in_threads(kernel.count_removed, len(numbers), 0, *arguments)
                left = right
            else:
                removed[top : top + len(numbers)] = counts
                top += len(numbers)

    def _blocks(self, rows: slice | torch.Tensor, columns: slice) -> list[np.ndarray] | None:
        """Similarities as bfloat16 bits; ``None`` when memory did not suffice and blocks are smaller from now on."""
        size = self.products.block
        try:
            return [bits(block) for block in self.products(rows, columns)]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or size <= SMALLEST_BLOCK:
                raise
        with self._halving:
            if self.products.block == size:  # else another thread was here
                self.products.block = size // 2
                print(f"out of memory: going on with blocks of {size // 2} rows", file=sys.stderr)
        return None


def is_out_of_memory(error: Exception) -> bool:
    """numpy's, CUDA's, and torch's on the CPU, which is a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(
        error
    )


def quarters(tile: Tile) -> list[Tile]:
    """The tile in up to four parts."""
    middle, centre = (tile.top + tile.bottom + 1) // 2, (tile.left + tile.right + 1) // 2
    return [
        replace(tile, top=top, bottom=bottom, left=left, right=right)
        for top, bottom in ((tile.top, middle), (middle, tile.bottom))
        for left, right in ((tile.left, centre), (centre, tile.right))
        if top < bottom and left < right
    ]


def disjoint(tile: Tile, parts: int) -> list[list[Tile]]:
    """The tile in up to ``parts`` x ``parts`` tiles, in groups without common rows or columns (the diagonals of a Latin square)."""
    parts = max(
        1,
        min(
            parts,
            (tile.bottom - tile.top) // SMALLEST_BLOCK,
            (tile.right - tile.left) // SMALLEST_BLOCK,
        ),
    )
    rows, columns = (
        np.linspace(*ends, parts + 1).astype(int).tolist()
        for ends in ((tile.top, tile.bottom), (tile.left, tile.right))
    )
    return [
        [
            replace(tile, top=rows[i], bottom=rows[i + 1], left=columns[j], right=columns[j + 1])
            for i in range(parts)
            for j in [(i + turn) % parts]
        ]
        for turn in range(parts)
    ]


def _both(blocks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Two blocks, as the kernel takes them; a single modality's stands twice and is read once."""
    return blocks[0], blocks[-1]


def bfloat16_values() -> np.ndarray:
    """(65536,) float32: what each code stands for."""
    return (
        torch.arange(1 << 16, dtype=torch.int32)
        .to(torch.uint16)
        .view(torch.bfloat16)
        .float()
        .numpy()
    )


def factor_tables(
    data: kernel.Data, errors: list[float], values: np.ndarray, rounding: float
) -> np.ndarray:
    """(2, 65536) float32: for each code an upper bound of the factor with its power; (2, 0) where the kernel needs none.

    Args:
        values: (65536,) what each code stands for, within ``rounding * |value| + error`` of the exact similarity.
    """
    if data.mode != kernel.WEIGHTED:
        return np.zeros((2, 0), np.float32)
    values = np.nan_to_num(values).astype(np.float64).clip(-2, 2)
    powers = (2 * data.weight, 2 - 2 * data.weight)
    highest = [
        np.maximum(values + np.abs(values) * rounding + error, 0) ** power
        for error, power in zip(errors, powers, strict=True)
    ]
    return (np.array(highest) * (1 + kernel.NUDGE)).astype(np.float32)
