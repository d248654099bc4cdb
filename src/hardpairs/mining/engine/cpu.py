"""The CPU engine: multiply blocks in low precision and scan each while it is in a core's cache."""

from __future__ import annotations

import functools
import math
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from hardpairs.core.threads import in_parallel
from hardpairs.mining.engine import kernel
from hardpairs.mining.engine.error_bound import BFLOAT16_ROUNDING, similarity_error
from hardpairs.mining.engine.kernel import Block, CandidateLists, Data
from hardpairs.mining.engine.lists import run_loop
from hardpairs.mining.low_precision import BFLOAT16, FLOAT32, INT8, LARGEST, SCALE, width_of
from hardpairs.mining.options import WEIGHTED
from hardpairs.mining.plan import Tile

SMALLEST_BLOCK = 64
PROBE_ROWS = 256
"""Rows of the product that is timed to choose a precision."""
BFLOAT16_GAIN = 0.8
"""Share of the time of float32 products below which bfloat16 is worth its wider error bound."""
INT8_COST = 2e-3
"""Seconds beside the products that the bound of int8 may cost for each row. Embeddings that lie in
groups cost 0.3 ms, 24,000 random ones 1.6 ms (``python -m benchmarks.precisions``)."""
INT8_POOL = 100_000
"""With fewer candidates int8 products save less, whatever the processor; they are not tried."""
SUMS = {torch.float32: torch.float32, torch.int8: torch.int32}
"""Kinds of numbers that products are added up in before they become bfloat16."""


class Products:
    """Similarities of two ranges of rows, in as many threads as call it.

    Args:
        rows: The unit vectors of one or two modalities as ``low_precision`` stores them, or (M, D)
            float32.
        input_errors: For each modality, the largest distance of a multiplied row from the exact
            one.
        block: Most rows and columns of a block; the caller may lower it.
        device: Where the products are computed.
        crossed: Images are multiplied with captions and captions with images, in one space.
    """

    def __init__(
        self,
        rows: list[np.ndarray],
        input_errors: list[float],
        block: int,
        device: str = "cpu",
        crossed: bool = False,
    ) -> None:
        self.rows = [_as_tensor(modality).to(device) for modality in rows]
        self.columns = self.rows[::-1] if crossed else self.rows
        if crossed:
            input_errors = [max(input_errors)] * 2
        self.errors = [
            similarity_error(max(width_of(modality), 2), error)
            for modality, error in zip(rows, input_errors, strict=True)
        ]
        self.block, self.device = block, device
        self._own = threading.local()

    def __call__(self, rows: slice | torch.Tensor, columns: slice) -> list[torch.Tensor]:
        """Return (m, n) bfloat16 for each modality, valid until the thread's next call."""
        sides = [
            (left[rows], right[columns])
            for left, right in zip(self.rows, self.columns, strict=True)
        ]
        out, wide = self._buffers(len(sides[0][0]) * len(sides[0][1]))
        return [
            _multiply(left, right, buffer, wide)
            for (left, right), buffer in zip(sides, out, strict=True)
        ]

    def _buffers(self, size: int) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        own, kind = self._own, SUMS.get(self.rows[0].dtype)
        if getattr(own, "size", 0) < size:
            own.size, own.out, own.wide = 0, None, None  # free them before others are made
            own.out = [
                torch.empty(size, dtype=torch.bfloat16, device=self.device) for _ in self.rows
            ]
            if kind is not None:
                own.wide = torch.empty(size, dtype=kind, device=self.device)
            own.size = size
        return own.out, own.wide


def _multiply(
    left: torch.Tensor, right: torch.Tensor, buffer: torch.Tensor, wide: torch.Tensor | None
) -> torch.Tensor:
    shape = len(left), len(right)
    out = buffer[: shape[0] * shape[1]].view(shape)
    if wide is None:
        return torch.mm(left, right.T, out=out)
    wide = wide[: shape[0] * shape[1]].view(shape)
    if left.dtype == torch.int8:
        return _multiply_int8(left, right, out, wide)
    return out.copy_(torch.mm(left, right.T, out=wide))


def _multiply_int8(
    left: torch.Tensor, right: torch.Tensor, out: torch.Tensor, wide: torch.Tensor
) -> torch.Tensor:
    (rows, row_scales), (columns, column_scales) = _without_scales(left), _without_scales(right)
    if _multiplies_int8(rows.shape[1]):
        torch._int_mm(rows, columns.T, out=wide)  # PyTorch has no other product of whole numbers
    else:  # the plan is of another machine, or of an earlier run there
        wide.copy_(rows.float() @ columns.float().T)
    kernel.scale(wide.numpy(), row_scales, column_scales, out.view(torch.uint16).numpy())
    return out


def _without_scales(stored: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
    """Return the whole numbers of int8 rows, (m, D) int8, and their scales, (m,) float32."""
    # A copy, at the start of its memory: one row is contiguous as it is, and may begin anywhere.
    scales = stored[:, -SCALE:].clone(memory_format=torch.contiguous_format)
    return stored[:, :-SCALE].contiguous(), scales.view(torch.float32)[:, 0].numpy()


def _as_tensor(rows: np.ndarray) -> torch.Tensor:
    """Return uint16 bits as the bfloat16 numbers they are, others unchanged; memory is shared."""
    tensor = torch.from_numpy(rows)
    return tensor.view(torch.bfloat16) if rows.dtype == np.uint16 else tensor


def choose_precision(width: int, device: str = "cpu", pool: int = 0) -> str:
    """Return the precision of products that makes a search the fastest; its result is the same.

    Args:
        width: Components of a row.
        device: Where the products are computed.
        pool: Candidates of each row.
    """
    with_int8 = device == "cpu" and pool >= INT8_POOL
    # In one thread, as in a search, where each thread multiplies blocks of its own.
    (seconds,) = in_parallel(lambda _: _probe(width, device, with_int8=with_int8), [0])
    best = FLOAT32
    if seconds[BFLOAT16] < BFLOAT16_GAIN * seconds[FLOAT32]:
        best = BFLOAT16
    pairs = pool / 2  # a pair is multiplied once for both of its rows
    return INT8 if (seconds[best] - seconds[INT8]) * pairs > INT8_COST else best


@functools.cache
def _probe(width: int, device: str, with_int8: bool) -> dict[str, float]:
    """Return the seconds of a pair's product in each precision.

    They are infinite for one that is not tried, or not multiplied as its error bound assumes.
    """
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(PROBE_ROWS, width, generator=generator)
    rows = torch.nn.functional.normalize(rows, dim=1).to(device)
    low = rows.to(torch.bfloat16)
    seconds = {FLOAT32: _product_seconds(rows), BFLOAT16: math.inf, INT8: math.inf}
    if _adds_in_float32(low):
        seconds[BFLOAT16] = _product_seconds(low)
    if with_int8 and _multiplies_int8(width):
        seconds[INT8] = _int8_seconds(width)
    return {precision: each / PROBE_ROWS**2 for precision, each in seconds.items()}


def _product_seconds(rows: torch.Tensor) -> float:
    return min(_seconds(lambda: rows @ rows.T) for _ in range(4))  # the first one warms up


def _seconds(product: Callable[[], torch.Tensor]) -> float:
    start = time.perf_counter()
    product()[0, 0].item()  # reading a number waits for an accelerator
    return time.perf_counter() - start


def _adds_in_float32(rows: torch.Tensor) -> bool:
    """Tell whether products keep the error bound, also of rows with many small terms.

    A sum in bfloat16 would lose these terms one by one.
    """
    small_terms = torch.full_like(rows, 2.0**-9)
    small_terms[:, 0] = 1
    for left, right in ((rows, rows), (small_terms, torch.ones_like(rows))):
        exact = left.double() @ right.double().T
        size = left.double().norm(dim=1)[:, None] * right.double().norm(dim=1)[None, :]
        allowed = exact.abs() * 2.0**-7 + size * similarity_error(rows.shape[1], 0.0)
        if not ((left @ right.T).double() - exact).abs().le(allowed).all():
            return False
    return True


def _int8_rows(width: int, numbers: Sequence[int]) -> np.ndarray:
    """Return stored rows of whole numbers drawn from some, all with the scale 1."""
    drawn = np.random.default_rng(0).choice(numbers, (PROBE_ROWS, width)).astype(np.int8)
    scales = np.ones((PROBE_ROWS, 1), np.float32).view(np.int8)
    return np.concatenate((drawn, scales), axis=1)


@functools.cache
def _multiplies_int8(width: int) -> bool:
    """Tell whether there are exact int8 products; 16-bit sums would overflow at the ends."""
    for numbers in ((-LARGEST, LARGEST), range(-LARGEST, LARGEST + 1)):
        stored = torch.from_numpy(_int8_rows(width, numbers))
        rows = _without_scales(stored)[0]
        try:
            product = torch._int_mm(rows, rows.T)
        except (AttributeError, RuntimeError):  # a version of PyTorch without them on a CPU
            return False
        if not torch.equal(product.double(), rows.double() @ rows.double().T):
            return False
    return True


def _int8_seconds(width: int) -> float:
    """Return the seconds of an int8 product and its scaling."""
    products = Products([_int8_rows(width, range(-LARGEST, LARGEST + 1))], [0.0], PROBE_ROWS)
    all_rows = slice(0, PROBE_ROWS)
    return min(_seconds(lambda: products(all_rows, all_rows)[0]) for _ in range(3))


class CpuEngine:
    """Offers tiles of pairs to lists on the CPU, see ``hardpairs.mining.engine.Engine``.

    Args:
        data: What scores are made of.
        products: Makes blocks of similarities.
    """

    def __init__(self, data: Data, products: Products) -> None:
        self.data, self.products = data, products
        self.errors = np.array([*products.errors, 0.0][:2], np.float32)
        values = code_values(torch.bfloat16)
        self.tables = factor_tables(data, products.errors, values, BFLOAT16_ROUNDING)
        self._halving = threading.Lock()

    def offer(self, tile: Tile, lists: CandidateLists) -> None:
        """Offer all pairs of a tile.

        No two threads have rows or columns in common at a time, so that a list has one writer.
        """
        for tiles in disjoint(tile, torch.get_num_threads()):
            in_parallel(lambda part: self._offer_in_thread(part, lists), tiles)

    def _offer_in_thread(self, tile: Tile, lists: CandidateLists) -> None:
        """Offer one thread's pairs block by block; halve a block that does not fit into memory."""
        scratch = kernel.make_scratch(lists.column.shape[1], self.products.block)
        waiting = [tile]
        while waiting:
            tile = waiting.pop()
            if max(tile.height, tile.width) > self.products.block:
                waiting += quarters(tile)
                continue
            rows, columns = slice(tile.top, tile.bottom), slice(tile.left, tile.right)
            block = self._block(rows, columns, tile.top)
            if block is None:
                waiting.append(tile)
                continue
            kernel.offer_rows(0, tile.height, scratch, self.data, lists, block)
            if tile.both:
                kernel.offer_columns(0, tile.width, scratch, self.data, lists, block)

    def flush(self) -> None:
        """Do nothing: ``offer`` returns when its pairs are in their lists."""

    def count_removed(
        self,
        rows: np.ndarray,
        columns: tuple[int, int],
        last_key: np.ndarray,
        removed: np.ndarray,
    ) -> None:
        """Count what filters removed from lists that had no room for removed entries."""
        top = 0
        while top < len(rows):
            numbers = rows[top : top + self.products.block]
            counts = self._count_in_block(numbers, columns, last_key[top : top + len(numbers)])
            if counts is not None:  # else blocks are smaller now: these rows from the start
                removed[top : top + len(numbers)] += counts
                top += len(numbers)

    def _count_in_block(
        self, numbers: np.ndarray, columns: tuple[int, int], last_key: np.ndarray
    ) -> np.ndarray | None:
        """Return (R, REASONS) counts of some rows; ``None`` when memory did not suffice."""
        counts = np.zeros((len(numbers), kernel.REASONS), np.int64)
        left, stop = columns
        while left < stop:
            right = min(left + self.products.block, stop)
            block = self._block(torch.from_numpy(numbers), slice(left, right))
            if block is None:
                return None
            arguments = self.data, numbers, block, last_key, counts
            run_loop(kernel.count_removed, len(numbers), 0, *arguments)
            left = right
        return counts

    def _block(self, rows: slice | torch.Tensor, columns: slice, row: int = 0) -> Block | None:
        """Return similarities; ``None`` when memory did not suffice and blocks are smaller now.

        A single modality's block stands for both and is read once.
        """
        size = self.products.block
        try:
            codes = [block.view(torch.uint16).numpy() for block in self.products(rows, columns)]
            return Block(row, columns.start, codes[0], codes[-1], self.errors, self.tables)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or size <= SMALLEST_BLOCK:
                raise
        with self._halving:
            if self.products.block == size:  # else another thread has halved it
                self.products.block = size // 2
                print(f"out of memory: continuing with blocks of {size // 2} rows", file=sys.stderr)
        return None

    def seconds_per_pair(self, rows: int) -> float:
        """Return the seconds of one pair's products, measured on a block of at most ``rows``."""
        return seconds_per_pair(self.products, min(self.products.block, rows))


def seconds_per_pair(products: Callable[[slice, slice], list[torch.Tensor]], block: int) -> float:
    """Return the seconds of one pair's products, measured on a square block; 0 for an empty one."""
    if not block:
        return 0.0
    side = slice(0, block)
    seconds = [_seconds(lambda: products(side, side)[-1]) for _ in range(2)]  # the first warms up
    return seconds[1] / block**2


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether memory ran out: numpy's error, CUDA's, or torch's plain RuntimeError."""
    named = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return named or "allocate memory" in str(error) or "out of memory" in str(error)


def quarters(tile: Tile) -> list[Tile]:
    """Return up to four tiles that make up this one."""
    middle, center = (tile.top + tile.bottom + 1) // 2, (tile.left + tile.right + 1) // 2
    return [
        replace(tile, top=top, bottom=bottom, left=left, right=right)
        for top, bottom in ((tile.top, middle), (middle, tile.bottom))
        for left, right in ((tile.left, center), (center, tile.right))
        if top < bottom and left < right
    ]


def disjoint(tile: Tile, threads: int) -> list[list[Tile]]:
    """Cut a tile into groups of tiles that have no row or column in common within a group.

    There are up to ``threads`` groups of as many tiles: the diagonals of a Latin square.
    """
    count = max(1, min(threads, tile.height // SMALLEST_BLOCK, tile.width // SMALLEST_BLOCK))
    rows, columns = (
        np.linspace(*ends, count + 1).astype(int).tolist()
        for ends in ((tile.top, tile.bottom), (tile.left, tile.right))
    )
    return [
        [
            replace(tile, top=rows[i], bottom=rows[i + 1], left=columns[j], right=columns[j + 1])
            for i in range(count)
            for j in [(i + turn) % count]
        ]
        for turn in range(count)
    ]


def code_values(kind: torch.dtype) -> np.ndarray:
    """Return the number that each code of a 16-bit float type stands for, (65536,) float32."""
    codes = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16)
    return codes.view(kind).float().numpy()


def factor_tables(
    data: Data, errors: list[float], values: np.ndarray, rounding: float
) -> np.ndarray:
    """Return for each code an upper bound of the factor with its power.

    Args:
        data: What scores are made of.
        errors: Error bounds of the first and second modality.
        values: (65536,) what each code stands for, within ``rounding * |value| + error`` of the
            exact similarity.
        rounding: Relative part of the error bound.

    Returns:
        (2, 65536) float32, or (2, 0) where the kernel needs no tables.
    """
    if data.mode != WEIGHTED:
        return np.zeros((2, 0), np.float32)
    values = np.nan_to_num(values).astype(np.float64).clip(-2, 2)
    powers = (2 * data.weight, 2 - 2 * data.weight)
    highest = [
        np.maximum(values + np.abs(values) * rounding + error, 0) ** power
        for error, power in zip(errors, powers, strict=True)
    ]
    return (np.array(highest) * (1 + kernel.NUDGE)).astype(np.float32)
