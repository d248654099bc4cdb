"""What a search keeps in a device's memory, chosen before it starts."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hardpairs.core.errors import Exit, UserError
from hardpairs.mining.engine import candidates
from hardpairs.mining.engine.device_rows import STAGED

SHARE_OF_FREE = 0.9
"""Share of a device's free memory that a search may take by default."""
TILE_SIZES = 3
"""Sizes of tiles to try, each half of the one before. Starting kernels takes longer than smaller
tiles take to compute."""
FEWEST_RANGES = 8
"""Ranges of rows that there is room for where the host has the rows: two are multiplied, two come,
and the others are met by several ranges of columns."""
SPARE = 160 << 20
"""Memory for what is small beside the rest, such as what cuBLAS works with."""
HALF = 2
"""Memory of a float16 number."""


@dataclass(frozen=True)
class DeviceSizes:
    """Sizes of a search on a device.

    Attributes:
        tile: Most rows of a tile.
        rows: Rows that are on the device at a time; 0 for all of them.
        bytes: Memory of the device that all this takes.
        host_bytes: Page-locked memory of the host.
    """

    tile: int
    rows: int
    bytes: int
    host_bytes: int


def device_sizes(
    *,
    rows: int,
    widths: Sequence[int],
    groups: int,
    tile: int,
    allowed: int,
    streamed: bool = False,
) -> DeviceSizes:
    """Return the sizes within a limit of device memory that are expected to be the fastest.

    Args:
        rows: M rows, targets and candidates.
        widths: Components of an embedding, for each modality.
        groups: Columns of groups.
        tile: Most rows of a tile.
        allowed: Bytes that the search may take on the device.
        streamed: The host has the rows, even if the device has room for all of them.

    Raises:
        UserError: Exit 5 when even the smallest sizes do not fit.
    """
    row, pairs = HALF * sum(widths), candidates.CAPACITY * candidates.PAIR_BYTES
    sizes = [max(1, min(tile >> halvings, rows)) for halvings in range(TILE_SIZES)]
    fixed = [_fixed_bytes(size, rows, len(widths), groups) for size in sizes]
    for size, beside in zip(sizes, fixed, strict=True):
        if beside + rows * row <= allowed and not streamed:
            return DeviceSizes(size, 0, beside + rows * row, pairs)
    for size, beside in zip(sizes, fixed, strict=True):
        all_ranges = max(FEWEST_RANGES, 2 * math.ceil(rows / size))  # some are cut in two
        ranges = min((allowed - beside) // (size * row), all_ranges)
        if ranges >= FEWEST_RANGES:
            held = ranges * size
            staged = STAGED * sum(_page_locked(HALF * size * width) for width in widths)
            return DeviceSizes(size, held, beside + held * row, pairs + staged)
    smallest = fixed[-1] + FEWEST_RANGES * sizes[-1] * row
    raise UserError(
        Exit.RESOURCES,
        f"the search needs at least {math.ceil(smallest / 1e6)}M of the device's memory, "
        f"{allowed // 10**6}M are allowed",
        fix="allow more with `max_device_memory`, or search on the CPU with `device`",
    )


def _fixed_bytes(tile: int, rows: int, modalities: int, groups: int) -> int:
    """Return what a search takes on the device beside the rows, see ``cuda.CudaEngine``."""
    pairs = 2 * candidates.CAPACITY * candidates.PAIR_BYTES
    blocks = modalities * HALF * tile * tile
    thresholds, of_groups = 3 * 4 * rows, 8 * groups * rows
    scratch = 4 * (sort_scratch() + threshold_scratch(tile))
    return pairs + blocks + thresholds + of_groups + scratch + SPARE


def sort_scratch() -> int:
    """Return the float32 numbers that have the room for sorting a full buffer of pairs.

    For each slot, torch has two int64 positions, and its sorting has a copy of slot and position.
    """
    return 8 * candidates.CAPACITY + (1 << 20)


def threshold_scratch(tile: int) -> int:
    """Return the float32 numbers that have the room for first thresholds and scans of a tile."""
    return 32 * candidates.ROWS_AT_ONCE * min(tile, candidates.THRESHOLD_COLUMNS)


def _page_locked(size: int) -> int:
    """Return the bytes that torch takes for page-locked memory: a power of two."""
    return 1 << (size - 1).bit_length()


def free_device_memory(device: torch.device) -> int:
    """Return the bytes that a process may take by default; a CPU that stands in has no limit.

    Processes of one machine that outnumber its devices share them.
    """
    if device.type != "cuda":
        return sys.maxsize
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    sharing = math.ceil(processes / torch.cuda.device_count())
    return int(SHARE_OF_FREE * (free + unused) / sharing)
