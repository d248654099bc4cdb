"""Measure the constants of mining with the engine's own parts."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from hardpairs.core.progress import Progress
from hardpairs.core.ranks import ALONE
from hardpairs.core.threads import in_parallel
from hardpairs.data.hard_pairs import write_helip, write_table
from hardpairs.mining.api import Execution, kernel_data, search, search_order
from hardpairs.mining.engine import cpu
from hardpairs.mining.engine.kernel import CandidateLists
from hardpairs.mining.engine.lists import (
    decide_lists,
    empty_lists,
    merge,
    pack,
    raise_thresholds,
    settle,
)
from hardpairs.mining.list_blocks import ListBlocks
from hardpairs.mining.options import IVF, TARGET_RECALL, MiningOptions
from hardpairs.mining.plan import PRODUCT_BLOCK, Plan, Tile, make_plan
from hardpairs.mining.pools import Pool
from hardpairs.mining.unit_vectors import (
    ROWS_PER_PIVOT,
    SAMPLE_PER_PIVOT,
    make_unit_vectors,
    order_by_similarity,
    round_vectors,
    write_unit_vectors,
)
from hardpairs.planning.machine import FIRST_COLUMNS, ListRate, MiningRates, ProductRate
from hardpairs.planning.made_rows import themed_rows
from hardpairs.planning.mining_cost import compared


@dataclasses.dataclass(frozen=True)
class Effort:
    """Sizes of what is measured: larger ones take longer and are more exact.

    Attributes:
        widths: Components of each modality, ascending; lists are measured at the two ends.
        blocks: Rows of a block of products.
        rows: Rows of the searches that lists are measured on, the first and a multiple of it.
        clustered: Rows of the search in clusters.
        repeats: Times that a small piece is measured; the median counts. The shortest would be that
            of a moment in which the machine had nothing else to do.
        top_k: Entries of a list.
    """

    widths: tuple[int, ...] = (64, 384, 768)
    blocks: tuple[int, ...] = (256, PRODUCT_BLOCK)
    rows: tuple[int, int] = (FIRST_COLUMNS, 4 * FIRST_COLUMNS)
    clustered: int = 16_384
    repeats: int = 4
    top_k: int = 50


def processor_seconds(action: Callable[[], Any], repeats: int) -> float:
    """Return the processor time of an action, divided by the threads: the median of some tries."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return statistics.median(times) / torch.get_num_threads()


class TimedProducts(cpu.Products):
    """Products that add up their own processor time, to be told from that of the lists."""

    def __init__(self, rows: list[np.ndarray], input_errors: list[float], block: int) -> None:
        super().__init__(rows, input_errors, block)
        self.seconds, self._adding = 0.0, threading.Lock()

    def __call__(self, rows: slice | torch.Tensor, columns: slice) -> list[torch.Tensor]:
        """Do what ``Products`` does."""
        start = time.thread_time()
        out = super().__call__(rows, columns)
        with self._adding:
            self.seconds += time.thread_time() - start
        return out


@dataclasses.dataclass(frozen=True)
class _Opened:
    """A search that is ready to begin."""

    plan: Plan
    engine: cpu.CpuEngine
    products: TimedProducts

    @classmethod
    def of(cls, rows: list[np.ndarray], top_k: int) -> _Opened:
        embeddings = dict(zip(("image", "text"), rows, strict=True))
        widths, numbers = [side.shape[1] for side in rows], np.arange(len(rows[0]))
        order, _ = search_order(rows, Pool(numbers, numbers), Execution())
        plan = make_plan(
            rows=len(order),
            pool=len(order),
            widths=widths,
            depth=min(top_k, len(order)),
            max_memory=1 << 62,
            threads=torch.get_num_threads(),
            precision=cpu.choose_precision(max(widths)),
        )
        vectors = make_unit_vectors(embeddings, order, plan, None, ALONE)
        options = MiningOptions(top_k=top_k)
        data = kernel_data(vectors.unit, order, None, options, plan.depth)
        products = TimedProducts(vectors.multiplied, vectors.errors, plan.product_block)
        return cls(plan, cpu.CpuEngine(data, products), products)

    def lists(self) -> CandidateLists:
        """Return empty lists of all rows."""
        return empty_lists(0, self.plan.rows, self.plan.capacity)

    def filling(self) -> tuple[float, CandidateLists]:
        """Return lists that all rows were offered to, and the time of that beside products."""
        blocks, lists = ListBlocks(self.plan, self.engine, None, ALONE), []

        def fill() -> None:
            lists.append(blocks.fill(0, 0, self.plan.rows, tqdm(disable=True)))

        return self._beside_products(fill), lists[0]

    def product(self, block: int, repeats: int) -> float:
        """Return the seconds per pair of both modalities' bare products, rows read from memory."""
        threads, count = torch.get_num_threads(), self.plan.rows // block
        sides = [slice(number * block, (number + 1) * block) for number in range(count)] * threads

        def products() -> None:
            in_parallel(self.products, sides, sides[1:] + sides[:1])

        return processor_seconds(products, repeats) / count / block**2

    def scan(self, both: bool, repeats: int) -> float:
        """Return the seconds per pair of a tile none of whose pairs is a candidate."""
        half = self.plan.rows // 2
        lists = self.lists()
        lists.threshold[:] = np.inf
        tile = Tile(half, 2 * half, 0, half, both=both)
        offers = [
            self._beside_products(lambda: self.engine.offer(tile, lists)) for _ in range(repeats)
        ]
        return statistics.median(offers) / tile.pairs

    def _beside_products(self, action: Callable[[], Any]) -> float:
        """Return the processor time of an action without that of its products, by thread."""
        before = self.products.seconds
        total = processor_seconds(action, 1)
        return total - (self.products.seconds - before) / torch.get_num_threads()


def measure_mining(effort: Effort) -> MiningRates:
    """Return the constants of mining on this machine."""
    load_loops(effort.top_k)
    products, scans = measure_products(effort)
    unit, rounding, ordering, float_product = _preparation(effort)
    known = MiningRates(
        top_k=effort.top_k,
        products=products,
        row_scan=scans[0],
        column_scan=scans[1],
        unit=unit,
        rounding=rounding,
        ordering=ordering,
        float_product=float_product,
        lists=(),
        writing=0.0,
        hashing=0.0,
        compared=1.0,
        compared_rows=0,
    )
    ends = sorted({effort.widths[0], effort.widths[-1]})
    return dataclasses.replace(
        known,
        lists=tuple(_list_rate(width, known, effort) for width in ends),
        writing=_writing(effort),
        hashing=_hashing(effort),
        **_clusters(effort),
    )


def load_loops(top_k: int) -> None:
    """Have all compiled loops in memory before the first one is measured."""
    opened = _Opened.of(themed_rows(2 * top_k, [8, 8]), top_k)
    lists = opened.filling()[1]
    settle(opened.engine.data, lists)
    decide_lists(opened.engine.data, lists)


def measure_products(effort: Effort) -> tuple[tuple[ProductRate, ...], tuple[float, float]]:
    """Return the rates of products, and the seconds per pair of the scans by row and by column."""
    products, scans = [], []
    for width in effort.widths:
        opened = _Opened.of(themed_rows(4 * PRODUCT_BLOCK, [width, width]), effort.top_k)
        for block in effort.blocks:
            seconds = opened.product(block, effort.repeats) / 2
            products.append(ProductRate(width, block, opened.plan.precision, seconds))
        by_row, both = (opened.scan(side, effort.repeats) for side in (False, True))
        scans.append((by_row, max(both - by_row, 0.0)))
    by_row, by_column = (min(side) for side in zip(*scans, strict=True))
    return tuple(products), (by_row, by_column)


def _preparation(effort: Effort) -> tuple[float, float, float, float]:
    """Return the rates ``unit``, ``rounding``, ``ordering`` and ``float_product``."""
    count, width = 2 * FIRST_COLUMNS, effort.widths[-1]
    rows, numbers = themed_rows(count, [width, width]), np.arange(count)
    unit = np.empty((count, width), np.float32)
    low = np.empty((count, width), np.uint16)
    making = processor_seconds(
        lambda: write_unit_vectors(rows[0], numbers, "image", unit), effort.repeats
    )
    rounding = processor_seconds(lambda: round_vectors(unit, low), effort.repeats)
    threads = torch.get_num_threads()
    sides = torch.from_numpy(unit[:512]), torch.from_numpy(unit[512:1536])

    def multiply() -> None:
        in_parallel(lambda _: sides[0] @ sides[1].T, range(threads))

    product = processor_seconds(multiply, effort.repeats) / threads / 512 / 1024 / width
    ordering = processor_seconds(
        lambda: order_by_similarity(rows, numbers, numbers[:0]), effort.repeats
    )
    pivots = count // ROWS_PER_PIVOT
    read = (count + SAMPLE_PER_PIVOT * pivots) * 2 * width
    ordering = max(ordering / read - pivots * product, 0.0)
    return making / unit.size, rounding / unit.size, ordering, product


def _list_rate(width: int, known: MiningRates, effort: Effort) -> ListRate:
    """Return the work on a list of rows with ``width`` components in each modality."""
    rows = themed_rows(effort.rows[1], [width, width])
    fills = []
    for count in effort.rows:
        opened = _Opened.of([side[:count] for side in rows], effort.top_k)
        seconds, lists = opened.filling()
        work = compared(opened.plan)
        scans = work.pairs * known.row_scan + work.mirrored * known.column_scan
        fills.append(max(seconds - scans, 0.0) / count)
    data = opened.engine.data
    raise_thresholds(data, lists)
    handing, taking = _handing_over(lists, effort.repeats)
    settling = processor_seconds(lambda: settle(data, lists), 1)
    deciding = processor_seconds(lambda: decide_lists(data, lists), 1)
    doublings = math.log2(effort.rows[1] / effort.rows[0])
    doubling = (fills[1] - fills[0]) / doublings
    first = fills[0] - doubling * math.log2(effort.rows[0] / FIRST_COLUMNS)
    by_list = (settling / count, deciding / count, handing / count, taking / count)
    return ListRate(2 * width, first, doubling, *by_list)


def _handing_over(lists: CandidateLists, repeats: int) -> tuple[float, float]:
    """Return the seconds to commit lists and to pack them for others, and to add packed ones."""
    with tempfile.TemporaryDirectory(prefix="hardpairs_plan_") as folder:
        progress = Progress(Path(folder) / "progress", {})

        def hand() -> None:
            progress.save("lists", **pack(lists))
            pack(lists)

        handing = processor_seconds(hand, repeats)
    packed = pack(lists)
    taking = processor_seconds(lambda: merge(lists, [packed]), repeats)
    return handing * torch.get_num_threads(), taking


def _writing(effort: Effort) -> float:
    """Return the seconds per entry of a table and of HELIP's files."""
    rows = FIRST_COLUMNS
    indices = (np.arange(rows)[:, None] + np.arange(1, effort.top_k + 1)) % rows
    scores = np.broadcast_to(np.linspace(1, 0.5, effort.top_k, dtype=np.float32), indices.shape)
    with tempfile.TemporaryDirectory(prefix="hardpairs_plan_") as folder:

        def write() -> None:
            table = write_table(Path(folder) / "made", indices, scores, {"kind": "hard_pairs"})
            write_helip(folder, "made", table)

        return processor_seconds(write, effort.repeats) * torch.get_num_threads() / indices.size


def _hashing(effort: Effort) -> float:
    """Return the seconds per byte of sha256."""
    data = bytes(1 << 24)
    one = processor_seconds(lambda: hashlib.sha256(data), effort.repeats)
    return one * torch.get_num_threads() / len(data)


def _clusters(effort: Effort) -> dict[str, Any]:
    """Return what a search in clusters compares, ``compared`` and ``compared_rows``."""
    width = effort.widths[-1]
    image, text = themed_rows(effort.clustered, [width, width])
    options = MiningOptions(top_k=effort.top_k, candidates=IVF, target_recall=TARGET_RECALL)
    result = search(image, text, options)
    assert result is not None
    share = 1.0 if result.clusters is None else result.clusters["compared"]
    return {"compared": share, "compared_rows": effort.clustered}
