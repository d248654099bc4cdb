"""The plan of a search: pieces that fit into memory, chosen before it starts.

Rows are numbered in search order: the P rows of the candidate pool first, then the other targets.
Pool rows that are no targets themselves are the first of all. The grid of tiles covers targets x
pool. A tile of two ranges of pool rows serves the lists of both, so
only one of (I, J) and (J, I) is computed. All lists stay in memory if they fit. Otherwise rows are
taken in blocks, one after the other, and a tile that crosses blocks is computed for each.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hardpairs.core.errors import Exit, UserError
from hardpairs.mining.low_precision import FLOAT16, row_bytes

TILE = 2048
"""Rows of a tile, after which progress can be committed."""
PRODUCT_BLOCK = 1024
"""Rows of a block of similarities, which a thread multiplies and scans at once: two of them should
fit into a core's cache."""
DEVICE_TILE = 16384
"""Rows of both on an accelerator: large enough that starting its few kernels costs nothing beside
them."""
SMALLEST_PRODUCT_BLOCK = 128
"""Rows of a block of similarities down to which memory is saved."""
VISITING_TILES = 4
"""Tiles of the rows that travel at once from process to process, if memory allows."""
RESIDENT_TILES = 4
"""Tiles of rows that are in memory at a time where one process has them in mapped files."""
STEP_COST = 1.1
"""Factor by which a step that saves memory is taken to lengthen a search: smaller blocks of
products or of travelling rows, less room in a list, mapped rows that the system keeps in its cache.
Two blocks of lists multiply 1.5 times the pairs of one."""
FEW_TILES = 8
"""A block of lists of fewer tiles of rows is taken only where every plan has as few."""
SHARED, RING = "shared", "ring"
"""Where processes have the rows: in one mapped file, or each one its share."""
SHARE_OF_FREE = 0.5
"""Share of the free memory that a search may take by default."""
ENTRY_BYTES, ROW_BYTES = 13, 9
"""Memory of a list's entry and of what a list has once, see ``hardpairs.mining.engine.lists``."""
DECIDED_ENTRY_BYTES, DECIDED_ROW_BYTES = 12, 112
"""The same of a decided list and its row numbers, see ``hardpairs.mining.result.Lists``."""


@dataclass(frozen=True)
class Tile:
    """Rows [top, bottom) against pool rows [left, right).

    Attributes:
        both: The pairs are also offered to the lists of the columns.
    """

    top: int
    bottom: int
    left: int
    right: int
    both: bool

    @property
    def height(self) -> int:
        """Return the number of rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Return the number of columns."""
        return self.right - self.left

    @property
    def pairs(self) -> int:
        """Return the number of similarities per modality."""
        return self.height * self.width


class Grid(Protocol):
    """Pairs that are compared, in tiles. A ``Plan`` compares all of them."""

    @property
    def identity(self) -> Any:
        """Return JSON values that tell grids of one plan apart."""

    def tiles(self, start: int, stop: int) -> list[Tile]:
        """Return the tiles that fill the lists of rows [start, stop), near ones first."""

    def is_near(self, tile: Tile) -> bool:
        """Tell whether a tile is among those that hold the most similar rows."""

    def compared(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, list[tuple[int, int]]]]:
        """Yield positions in ``rows``, and the ranges of columns that these are compared with."""

    def others(self, rows: np.ndarray) -> np.ndarray:
        """Return how many other rows each row is compared with."""


@dataclass(frozen=True)
class Plan:
    """Sizes of a search.

    Attributes:
        rows: M rows.
        pool: P candidates, the first ones of the rows.
        depth: Ranks of a list that must be known.
        capacity: Entries that a list has room for.
        tile: Rows of a tile.
        product_block: Rows of a block of similarities.
        list_block: Rows whose lists are in memory at once.
        mapped: The unit vectors are in mapped files, not in memory.
        bytes: Memory that all this takes, without the input files.
        precision: Precision of the products, see ``hardpairs.mining.low_precision``.
        first_target: The first row that has a list; those before it are candidates alone.
        visiting: Rows of a block that travels from process to process, where each one keeps its
            share of the rows; 0 where every process has all rows.
        resident: Mapped rows that are in memory at a time; 0 for as many as the system keeps.
        accelerated: An accelerator compares the pairs.
        on_device: Rows that are on it at a time; 0 for all of them.
    """

    rows: int
    pool: int
    depth: int
    capacity: int
    tile: int
    product_block: int
    list_block: int
    mapped: bool
    bytes: int
    precision: str = "float32"
    first_target: int = 0
    visiting: int = 0
    resident: int = 0
    accelerated: bool = False
    on_device: int = 0

    @property
    def identity(self) -> None:
        """Return that there is one plan of its sizes."""

    def list_blocks(self) -> list[tuple[int, int]]:
        """Return the ranges of rows whose lists are filled together."""
        starts = range(self.first_target, self.rows, self.list_block)
        return [(start, min(start + self.list_block, self.rows)) for start in starts]

    def tiles(self, start: int, stop: int) -> list[Tile]:
        """Return the tiles that fill the lists of rows [start, stop), near ranges first.

        Similar rows stand together (``hardpairs.mining.unit_vectors``), so that the first tiles
        bring most rows their best candidates. Where an accelerator has some of the rows at a time,
        the tiles that follow go down strips: the rows of a strip stay, the columns come once.
        """
        pool_ends = [self.pool] if start < self.pool < stop else []
        cuts = sorted({*range(start, stop, self.tile), *pool_ends, stop})
        tiles = []
        for top, bottom in itertools.pairwise(cuts):
            for left, right in self._column_ranges(start, stop, cuts):
                inside = start <= left and right <= stop and bottom <= self.pool
                if not (inside and left > top):  # the mirror image is in the list
                    tiles.append(Tile(top, bottom, left, right, both=inside and left < top))
        return sorted(tiles, key=self._turn)

    def _turn(self, tile: Tile) -> tuple[float, ...]:
        """Return what puts tiles into order."""
        if not 0 < self.on_device < self.rows or self.is_near(tile):
            return 0, self._distance(tile), tile.top
        # Beside two ranges of columns, and one more of rows where the pool ends within a tile.
        strip = max(1, self.on_device // self.tile - 3) * self.tile
        number = tile.top // strip
        return 1 + number, abs(number * strip - tile.left), tile.left, tile.top

    def is_near(self, tile: Tile) -> bool:
        """Tell whether a tile is among those that hold the most similar rows."""
        return self._distance(tile) < self.tile

    def compared(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, list[tuple[int, int]]]]:
        """Yield positions in ``rows``, and the ranges of columns that these are compared with."""
        yield np.arange(len(rows)), [(0, self.pool)]

    def others(self, rows: np.ndarray) -> np.ndarray:
        """Return how many other rows each row is compared with."""
        return self.pool - (rows < self.pool)

    def _distance(self, tile: Tile) -> float:
        """Return how far a tile's columns are from those that are most similar to its rows."""
        position: float = tile.top
        if tile.top >= self.pool:
            position = (tile.top - self.pool) / (self.rows - self.pool) * self.pool
        return abs(position - tile.left)

    def _column_ranges(self, start: int, stop: int, cuts: list[int]) -> list[tuple[int, int]]:
        """Return ranges of the pool that coincide with the block's own ranges of rows."""
        edges = {*range(0, start, self.tile), *cuts, *range(stop, self.pool, self.tile), self.pool}
        columns = sorted(edge for edge in edges | {0} if edge <= self.pool)
        return list(itertools.pairwise(columns))

    def text(self) -> str:
        """Return the plan in one line."""
        vectors = "mapped from disk" if self.mapped else "in memory"
        if self.visiting:
            vectors = f"in a ring, blocks of {self.visiting} travel"
        lists = "all lists at once"
        if self.list_block < self.rows - self.first_target:
            lists = f"{len(self.list_blocks())} blocks of {self.list_block} lists"
        precision = FLOAT16 if self.accelerated else self.precision
        if self.on_device:
            vectors += f" ({self.on_device} rows on the device at a time)"
        return (
            f"plan: {self.rows - self.first_target} rows, {self.pool} candidates, {lists}, "
            f"tiles of {self.tile}, "
            f"products of {self.product_block} in {precision}, unit vectors {vectors}, "
            f"{self.bytes / 1e9:.2f} GB"
        )


def make_plan(
    *,
    rows: int,
    pool: int,
    widths: list[int],
    depth: int,
    max_memory: int | None = None,
    tile: int = TILE,
    product_block: int = PRODUCT_BLOCK,
    threads: int = 1,
    processes: int = 1,
    held: str | None = None,
    precision: str = "bfloat16",
    first_target: int = 0,
    beside: int = 0,
    free: int | None = None,
    accelerated: bool = False,
    on_device: int = 0,
) -> Plan:
    """Return the plan within a limit of memory that is expected to be the fastest.

    Args:
        rows: M rows, targets and candidates.
        pool: P candidates.
        widths: Components of an embedding, for each modality.
        depth: Ranks of a list that must be known.
        max_memory: Bytes that the search may take; default half of what is free.
        tile: Most rows of a tile.
        product_block: Most rows of a block of similarities.
        threads: Threads, each of which has blocks of its own.
        processes: Processes that share the search.
        held: Where they have the rows, ``SHARED`` or ``RING``; by default in a ring where all rows
            do not fit.
        precision: Precision of the products.
        first_target: Rows before it are candidates alone.
        beside: Bytes that are taken besides.
        free: Bytes that are free on the machine, without which mapped rows are read from the disk
            again and again; default those of this one.
        accelerated: An accelerator compares the pairs, and has the blocks of products.
        on_device: Rows that are on it at a time; 0 for all of them.

    Raises:
        UserError: Exit 5 when even the smallest plan does not fit.
    """
    free = free_memory() if free is None else free
    allowed = int(free * SHARE_OF_FREE) if max_memory is None else max_memory
    tile = max(1, min(tile, rows))
    row = row_bytes(widths, precision)
    targets, ways = rows - first_target, _ways(rows, tile, processes, held, allowed // max(row, 1))
    if ways[0].visiting:
        targets = -(-targets // processes)  # of each process
    sizes, capacities = _halves(min(product_block, tile)), (4 * depth + 64, 2 * depth + 64)
    plans, smallest = [], math.inf
    choices = itertools.product(enumerate(ways), enumerate(sizes), enumerate(capacities))
    for (i, way), (j, size), (k, capacity) in choices:
        products = 0 if accelerated else threads * _block_bytes(size, widths)
        fixed = way.rows * row + beside + products + (64 << 20)
        list_bytes = capacity * ENTRY_BYTES + ROW_BYTES
        list_bytes += _deciding_bytes(depth, 1 if way.visiting else processes)
        smallest = min(smallest, fixed + min(tile, targets) * list_bytes)
        fit = (allowed - fixed) // list_bytes
        if fit < min(tile, targets):
            continue
        block = max(targets, 1) if fit >= targets else int(fit) // tile * tile
        plan = Plan(
            *(rows, pool, depth, capacity, tile, size),
            list_block=block * processes if way.visiting else block,
            mapped=way.mapped,
            bytes=fixed + block * list_bytes,
            precision=precision,
            first_target=first_target,
            visiting=way.visiting,
            resident=way.rows if way.mapped else 0,
            accelerated=accelerated,
            on_device=on_device,
        )
        few = block < min(targets, FEW_TILES * tile)
        from_disk = processes == 1 and way.mapped and plan.bytes + rows * row > free
        plans.append((few, from_disk, _pairs(plan, processes) * STEP_COST ** (i + j + k), plan))
    if plans:
        return min(plans, key=lambda candidate: candidate[:3])[3]
    raise UserError(
        Exit.RESOURCES,
        f"the search needs at least {math.ceil(smallest / 1e6)}M of memory, "
        f"{allowed // 10**6}M are allowed",
        fix="allow more with `max_memory`, take a smaller `top_k`, or a pool with `approx`",
    )


def _pairs(plan: Plan, processes: int = 1) -> float:
    """Return how many pairs are multiplied.

    A pair within a block of lists is multiplied once for both sides, any other for each. In a ring,
    each process has a block of its own.
    """
    whole, rest = divmod(max(0, plan.pool - plan.first_target), plan.list_block)
    twice = whole * plan.list_block**2 + rest**2
    once = (plan.rows - plan.first_target) * plan.pool
    return once - twice / (2 * processes if plan.visiting else 2)


@dataclass(frozen=True)
class _Way:
    """A way to have the unit vectors.

    Attributes:
        rows: Rows in memory.
        mapped: They are in mapped files.
        visiting: See ``Plan``.
    """

    rows: int
    mapped: bool = False
    visiting: int = 0


def _ways(rows: int, tile: int, processes: int, held: str | None, fit: int) -> list[_Way]:
    """Return the ways to have the unit vectors, fast ones first.

    Args:
        rows: All rows.
        tile: Rows of a tile.
        processes: Processes that share the search.
        held: As in ``make_plan``.
        fit: Rows that may be in memory.
    """
    if processes == 1:
        return [_Way(rows), _Way(min(rows, RESIDENT_TILES * tile), mapped=True)]
    if held == SHARED or (held is None and rows <= fit):
        return [_Way(0, mapped=True)]
    own = -(-rows // processes)
    return [_Way(own + 2 * block, visiting=block) for block in (VISITING_TILES * tile, tile)]


def _halves(size: int) -> list[int]:
    """Return block sizes to try, down to ``SMALLEST_PRODUCT_BLOCK``."""
    sizes = [size]
    while sizes[-1] > SMALLEST_PRODUCT_BLOCK:
        sizes.append(sizes[-1] // 2)
    return sizes


def _deciding_bytes(depth: int, processes: int) -> int:
    """Return the memory that it takes to decide the lists of a block, for each of its rows.

    Args:
        depth: Ranks of a list that must be known.
        processes: Processes that have entries of the same lists. Each decides its share of them,
            and hands the others what it has in theirs.
    """
    decided = -(-(depth * DECIDED_ENTRY_BYTES + DECIDED_ROW_BYTES) // processes)
    packed = depth * ENTRY_BYTES // processes + ROW_BYTES
    return decided + (2 * packed if processes > 1 else 0)  # handed over, and received


def _block_bytes(block: int, widths: list[int]) -> int:
    return block * block * (2 * len(widths) + 4)


def free_memory() -> int:
    """Return the bytes that can be had without swapping, or fewer inside a control group."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    info = Path("/proc/meminfo")
    if info.exists():
        fields = dict(line.split(":", 1) for line in info.read_text().splitlines())
        free = int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else free
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and limit.read_text().strip() != "max":
        free = min(free, max(0, int(limit.read_text()) - int(used.read_text())))
    return free
