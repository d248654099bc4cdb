"""One process's pass over its tiles: similarities, then the compiled loops that offer them to the lists."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch

from mining import kernel
from mining.plan import Plan, Tile
from mining.products import Products, bits

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
    lists = empty_lists(len(stored["count"]), max(capacity, int(stored["count"].max(initial=0))), 0.0)
    real = np.arange(lists.column.shape[1]) < stored["count"][:, None]
    for name in ("column", "high", "low", "reason"):
        getattr(lists, name)[real] = stored[name]
    return lists._replace(count=stored["count"], threshold=stored["threshold"], spilled=stored["spilled"])


def part_of(stored: dict[str, np.ndarray], start: int, stop: int) -> dict[str, np.ndarray]:
    """Packed lists of rows [start, stop) alone."""
    ends = np.concatenate(([0], np.cumsum(stored["count"], dtype=np.int64)))
    entries = {name: stored[name][ends[start] : ends[stop]] for name in ("column", "high", "low", "reason")}
    return {**entries, **{name: stored[name][start:stop] for name in ("count", "threshold", "spilled")}}


def merged(parts: list[dict[str, np.ndarray]], capacity: int) -> kernel.State:
    """Lists of the same rows that several processes filled from different tiles, each entry in one of them."""
    total = np.stack([part["count"] for part in parts]).sum(axis=0, dtype=np.int64)
    lists = empty_lists(len(total), max(capacity, int(total.max(initial=0))), 0.0)
    filled = np.zeros(len(total), np.int32)
    width = np.arange(lists.column.shape[1])
    for part in parts:
        places = (width >= filled[:, None]) & (width < (filled + part["count"])[:, None])
        for name in ("column", "high", "low", "reason"):
            getattr(lists, name)[places] = part[name]
        filled += part["count"]
    threshold, spilled = (np.max([part[name] for part in parts], axis=0) for name in ("threshold", "spilled"))
    return lists._replace(count=filled, threshold=threshold, spilled=spilled)


def in_threads(loop: Callable[..., None], count: int, capacity: int, *arguments) -> None:
    """``loop(begin, end, scratch, *arguments)`` over [0, count) in pieces, in as many threads as torch has for the products.

    Plain threads, not numba's own: those wait busily for the next loop, and take the cores from torch's meanwhile.
    """
    threads = torch.get_num_threads()
    if threads == 1 or count < 2 * kernel.CHUNK:
        loop(0, count, kernel.make_scratch(capacity), *arguments)
        return
    size = -(-count // (threads * PIECES * kernel.CHUNK)) * kernel.CHUNK
    in_pieces(loop, [*range(0, count, size), count], capacity, *arguments)


def in_pieces(loop: Callable[..., None], cuts: list[int], capacity: int, *arguments) -> None:
    """``in_threads`` with pieces from each cut to the next one."""
    pool = _pool(torch.get_num_threads())
    futures = [pool.submit(loop, begin, end, kernel.make_scratch(capacity), *arguments) for begin, end in itertools.pairwise(cuts)]
    for future in futures:
        future.result()


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="mining")


class Sweep:
    """Offers tiles of pairs to lists.

    Args:
        data: as the kernel reads it. products: makes blocks of similarities. depth: K.
    """

    def __init__(self, data: kernel.Data, products: Products, depth: int) -> None:
        self.data, self.products, self.depth = data, products, depth
        self.errors = np.array([*products.errors, 0.0][:2], np.float32)
        self.tables = factor_tables(data, products.errors, bfloat16_values(), kernel.ROUNDING)

    def tile(self, tile: Tile, lists: kernel.State, offset: int) -> None:
        """All pairs of a tile, in blocks; a block that does not fit into memory is halved."""
        waiting = [tile]
        while waiting:
            part = waiting.pop()
            if max(part.bottom - part.top, part.right - part.left) > self.products.block:
                waiting += quarters(part)
                continue
            blocks = self._blocks(slice(part.top, part.bottom), slice(part.left, part.right))
            if blocks is None:
                waiting.append(part)
            else:
                self._offer(part, lists, offset, blocks)

    def flush(self) -> None:
        """Nothing is left to do; see ``mining.device``."""

    def count_removed(self, rows: np.ndarray, pool: int, last: np.ndarray, removed: np.ndarray) -> None:
        """Counts again what filters removed from the lists of ``rows``, ahead of their ``last`` places, into ``removed``."""
        top = 0
        while top < len(rows):
            numbers, left = rows[top : top + self.products.block], 0
            counts = np.zeros((len(numbers), kernel.REASONS), np.int64)
            while left < pool:
                right = min(left + self.products.block, pool)
                blocks = self._blocks(torch.from_numpy(numbers[: self.products.block]), slice(left, right))
                if blocks is None or len(blocks[0]) < len(numbers):
                    break  # blocks are smaller now: these rows from the start
                first, second = _both(blocks)
                places = last[top : top + len(numbers)]
                arguments = (self.data, numbers, left, first, second, self.errors, self.tables, places, counts)
                in_threads(kernel.count_removed, len(numbers), 0, *arguments)
                left = right
            else:
                removed[top : top + len(numbers)] = counts
                top += len(numbers)

    def _blocks(self, rows: slice | torch.Tensor, columns: slice) -> list[np.ndarray] | None:
        """Similarities as bfloat16 bits; ``None`` when memory did not suffice and blocks are smaller from now on."""
        try:
            return [bits(block) for block in self.products(rows, columns)]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or self.products.block <= SMALLEST_BLOCK:
                raise
        half = self.products.block // 2
        print(f"out of memory: going on with blocks of {half} rows", file=sys.stderr)
        self.products.resize(half)
        return None

    def _offer(self, part: Tile, lists: kernel.State, offset: int, blocks: list[np.ndarray]) -> None:
        first, second = _both(blocks)
        common = (self.data, lists, self.depth, offset, part.top, part.left, first, second, self.errors, self.tables)
        capacity = lists.column.shape[1]
        in_threads(kernel.sweep_rows, part.bottom - part.top, capacity, *common)
        if part.both:
            in_threads(kernel.sweep_columns, part.right - part.left, capacity, *common)


def make_products(rows: list[np.ndarray], input_errors: list[float], plan: Plan, device: str) -> Products:
    """Products with the plan's blocks, or the largest halves of them that memory has room for."""
    block = plan.block
    while True:
        try:
            return Products(rows, input_errors, block, device)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or block <= SMALLEST_BLOCK:
                raise
        block //= 2
        print(f"out of memory: starting with blocks of {block} rows", file=sys.stderr)


def is_out_of_memory(error: Exception) -> bool:
    """numpy's, CUDA's, and torch's on the CPU, which is a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def quarters(tile: Tile) -> list[Tile]:
    """The tile in up to four parts."""
    middle, centre = (tile.top + tile.bottom + 1) // 2, (tile.left + tile.right + 1) // 2
    return [
        replace(tile, top=top, bottom=bottom, left=left, right=right)
        for top, bottom in ((tile.top, middle), (middle, tile.bottom))
        for left, right in ((tile.left, centre), (centre, tile.right))
        if top < bottom and left < right
    ]


def _both(blocks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Two blocks, as the kernel takes them; a single modality's stands twice and is read once."""
    return blocks[0], blocks[-1]


def bfloat16_values() -> np.ndarray:
    """(65536,) float32: what each code stands for."""
    return torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16).float().numpy()


def factor_tables(data: kernel.Data, errors: list[float], values: np.ndarray, rounding: float) -> np.ndarray:
    """(2, 65536) float32: for each code an upper bound of the factor with its power; (2, 0) where the kernel needs none.

    Args:
        values: (65536,) what each code stands for, within ``rounding * |value| + error`` of the exact similarity.
    """
    if data.mode != kernel.WEIGHTED:
        return np.zeros((2, 0), np.float32)
    values = np.nan_to_num(values).astype(np.float64).clip(-2, 2)
    powers = (2 * data.weight, 2 - 2 * data.weight)
    highest = [np.maximum(values + np.abs(values) * rounding + error, 0) ** power for error, power in zip(errors, powers, strict=True)]
    return (np.array(highest) * (1 + kernel.NUDGE)).astype(np.float32)
