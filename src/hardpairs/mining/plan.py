"""How a search is cut into pieces that fit into memory, told before it starts.

Rows are numbered in search order: the P rows of the candidate pool first, then the other targets. The grid of tiles covers rows x pool.
A tile of two ranges of pool rows serves the lists of both, so only one of (I, J) and (J, I) is computed. All lists stay in memory if they fit
(one strip); else rows are taken in strips, one after the other, and a tile that crosses strips is computed for each.
"""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import dataclass
from pathlib import Path

from hardpairs.core.errors import Exit, UserError

TILE, BLOCK = 2048, 1024
"""Rows of a tile, the unit of work that is committed, and of a block of similarities, which a thread multiplies and looks through at once: two
of them should fit into a core's cache."""
DEVICE_TILE = 16384
"""The same where an accelerator multiplies: large enough that starting its few kernels costs nothing beside them."""
SMALLEST = 128
"""Rows of a block that memory is saved down to."""
SHARE_OF_FREE = 0.5
"""Of the free memory, what a search may take by default."""
ENTRY_BYTES, ROW_BYTES = 13, 9
"""Of a list's entry (column, two bounds, reason) and of what a list has once (``kernel.State``)."""


@dataclass(frozen=True)
class Tile:
    """Rows [top, bottom) against pool rows [left, right); ``both``: the columns' lists get the pairs too."""

    top: int
    bottom: int
    left: int
    right: int
    both: bool

    @property
    def cost(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)


@dataclass(frozen=True)
class Plan:
    """Sizes of a search.

    Attributes:
        rows, pool: M targets, the first P of which are the candidates.
        depth: K, places of a list. capacity: entries that it has room for.
        tile: rows of a tile. block: rows of a block of similarities.
        strip: rows whose lists are in memory at once.
        mapped: the unit rows are in files, mapped, not in memory.
        bytes: what all that takes, input files aside.
        precision: of the products, "bfloat16" or "float32".
    """

    rows: int
    pool: int
    depth: int
    capacity: int
    tile: int
    block: int
    strip: int
    mapped: bool
    bytes: int
    precision: str = "float32"

    def strips(self) -> list[tuple[int, int]]:
        return [
            (start, min(start + self.strip, self.rows)) for start in range(0, self.rows, self.strip)
        ]

    def tiles(self, start: int, stop: int) -> list[Tile]:
        """The tiles of the lists of rows [start, stop), near pairs of ranges first: rows are in an order in which similar ones stand together
        (``hardpairs.mining.order``), so that lists are filled with their best at once."""
        tops = [top for top in range(start, stop, self.tile)]
        cuts = sorted({*tops, *([self.pool] if start < self.pool < stop else []), stop})
        tiles = []
        for top, bottom in itertools.pairwise(cuts):
            for left, right in self._column_ranges(start, stop, cuts):
                inside = start <= left and right <= stop and bottom <= self.pool
                if not (inside and left > top):  # the mirror image is in the list
                    tiles.append(Tile(top, bottom, left, right, both=inside and left < top))
        return sorted(tiles, key=lambda tile: (abs(self._beside(tile.top) - tile.left), tile.top))

    def is_near(self, tile: Tile) -> bool:
        """Whether it is among the tiles where a row's like are."""
        return abs(self._beside(tile.top) - tile.left) < self.tile

    def _beside(self, row: int) -> float:
        """The place in the pool that a row's like are at."""
        return row if row < self.pool else (row - self.pool) / (self.rows - self.pool) * self.pool

    def _column_ranges(self, start: int, stop: int, cuts: list[int]) -> list[tuple[int, int]]:
        """The pool in ranges that fall together with the strip's own."""
        edges = {*range(0, start, self.tile), *cuts, *range(stop, self.pool, self.tile), self.pool}
        columns = sorted(edge for edge in edges | {0} if edge <= self.pool)
        return list(itertools.pairwise(columns))

    def pairs(self) -> int:
        """Similarities to compute per modality."""
        inside, count = 0, 0
        for start, stop in self.strips():
            own = max(0, min(stop, self.pool) - start)
            inside = own * (own + min(self.tile, own)) // 2
            count += (stop - start) * self.pool - own * own + inside
        return count

    def text(self) -> str:
        where = "mapped from disk" if self.mapped else "in memory"
        strips = (
            f"{len(self.strips())} strips of {self.strip} rows"
            if self.strip < self.rows
            else "one strip"
        )
        return (
            f"plan: {self.rows} rows, {self.pool} candidates, {strips}, tiles of {self.tile}, blocks of {self.block} in {self.precision}, "
            f"unit rows {where}, {self.bytes / 1e9:.2f} GB"
        )


def make_plan(
    *,
    rows: int,
    pool: int,
    widths: list[int],
    depth: int,
    max_memory: int | None = None,
    tile: int = TILE,
    block: int = BLOCK,
    threads: int = 1,
    shared: bool = False,
    precision: str = "bfloat16",
) -> Plan:
    """The fastest plan within ``max_memory`` bytes (default: half of what is free).

    Args:
        widths: of the modalities. threads: each has blocks of its own. shared: several processes map one copy of the unit rows.

    Raises:
        UserError: exit 5 when even the smallest plan does not fit.
    """
    allowed = int(free_memory() * SHARE_OF_FREE) if max_memory is None else max_memory
    tile = max(1, min(tile, rows))
    unit = (6 if precision == "bfloat16" else 4) * rows * sum(widths)
    results = rows * (
        24 * depth + 112
    )  # the table, and the decided lists of a strip on the way to it
    smallest = None
    for mapped in (True,) if shared else (False, True):
        for size in _halves(min(block, tile)):
            fixed = (
                (0 if mapped else unit)
                + results
                + threads * _block_bytes(size, widths)
                + (64 << 20)
            )
            for capacity in (4 * depth + 64, 2 * depth + 64):
                row = capacity * ENTRY_BYTES + ROW_BYTES
                fit = (allowed - fixed) // row
                if fit >= min(rows, 8 * tile) or (
                    fit >= min(tile, rows) and mapped and size <= SMALLEST
                ):
                    strip = max(rows, 1) if fit >= rows else int(fit) // tile * tile
                    return Plan(
                        rows,
                        pool,
                        depth,
                        capacity,
                        tile,
                        size,
                        strip,
                        mapped,
                        fixed + strip * row,
                        precision,
                    )
                smallest = fixed + min(tile, rows) * row
    raise UserError(
        Exit.RESOURCES,
        f"the search needs at least {math.ceil((smallest or 0) / 1e6)}M of memory, {allowed // 10**6}M are allowed",
        fix="allow that much with --max-memory, take a smaller --topk, or search in a pool with --approx",
    )


def _halves(size: int) -> list[int]:
    """Block sizes to try: down to ``SMALLEST``."""
    sizes = [size]
    while sizes[-1] > SMALLEST:
        sizes.append(sizes[-1] // 2)
    return sizes


def _block_bytes(block: int, widths: list[int]) -> int:
    return block * block * (2 * len(widths) + 4)


def free_memory() -> int:
    """Bytes that can be had without swapping: the system's figure, or less inside a limited control group."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    info = Path("/proc/meminfo")
    if info.exists():
        fields = dict(line.split(":", 1) for line in info.read_text().splitlines())
        free = int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else free
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and limit.read_text().strip() != "max":
        free = min(free, max(0, int(limit.read_text()) - int(used.read_text())))
    return free
