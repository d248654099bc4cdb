"""The model of mining: which pairs the engine's plan compares, and what that takes.

The plan is the engine's own (``hardpairs.mining.plan.make_plan``). Its tiles are not listed one by
one, since 400 million rows have 10^10 of them: ``compared`` counts their pairs in closed form, and
``schedule`` shows that both are the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hardpairs.core.errors import UserError
from hardpairs.core.ranks import Ranks
from hardpairs.mining.clusters import (
    FITTED_PER_CLUSTER,
    ITERATIONS,
    MOST_CLUSTERS,
    ROWS_PER_CLUSTER,
)
from hardpairs.mining.low_precision import FLOAT32, row_bytes
from hardpairs.mining.options import IVF, TARGET_RECALL, MiningOptions
from hardpairs.mining.plan import (
    ENTRY_BYTES,
    RING,
    ROW_BYTES,
    SHARE_OF_FREE,
    SHARED,
    Plan,
    make_plan,
)
from hardpairs.mining.recall import sample_size
from hardpairs.mining.route import make_route
from hardpairs.mining.unit_vectors import MOST_PIVOTS, ROWS_PER_PIVOT, SAMPLE_PER_PIVOT
from hardpairs.planning.cost import Cost
from hardpairs.planning.machine import FIRST_COLUMNS, Machine, MiningRates

NO_LIMIT = 1 << 62
"""Memory of a plan that does not fit, so that its cost can be said."""
NPY_HEADER = 128
"""Bytes before the numbers of an .npy file."""
RESULT_ENTRY, RESULT_ROW = 12, 8
"""Bytes of an entry of decided lists that processes hand to each other, and of a row."""


@dataclass(frozen=True)
class Work:
    """The pairs that one process compares.

    Attributes:
        pairs: Pairs that are multiplied, and compared with the threshold of their row.
        mirrored: Those of them that are also compared with the threshold of their column.
    """

    pairs: float
    mirrored: float

    def __add__(self, other: Work) -> Work:
        """Return the sum of both."""
        return Work(self.pairs + other.pairs, self.mirrored + other.mirrored)

    def seconds(self, rates: MiningRates, widths: Sequence[int], block: int) -> float:
        """Return the time that the pairs take.

        Args:
            rates: The constants.
            widths: Components of an embedding, for each modality.
            block: Rows of a block of similarities.
        """
        products = sum(rates.product(width, block) for width in widths)
        return self.pairs * (products + rates.row_scan) + self.mirrored * rates.column_scan


def compared(plan: Plan, processes: int = 1, share: float = 1.0) -> Work:
    """Return what the process with the most work compares.

    Args:
        plan: A plan whose rows are all targets and candidates.
        processes: Processes that share the search.
        share: Share of all pairs that clusters leave.
    """
    work = Work(0, 0)
    for start, stop in plan.list_blocks():
        if plan.visiting:
            work += _of_block(plan, -(-(stop - start) // processes), share)
        else:
            block = _of_block(plan, stop - start, share)
            work += Work(block.pairs / processes, block.mirrored / processes)
    return work


def _of_block(plan: Plan, rows: int, share: float) -> Work:
    """Return what fills the lists of consecutive rows; pairs among them are compared once."""
    if share < 1:
        size = plan.rows / clusters_of(plan.rows)
        own, inside = rows * size, share * rows * rows
        mirrored = max(inside - own, 0) / 2
        return Work(max(share * rows * plan.pool, own) - mirrored, mirrored)
    full, rest = divmod(rows, plan.tile)
    diagonal = full * plan.tile**2 + rest**2
    mirrored = (rows**2 - diagonal) // 2
    return Work(rows * plan.pool - mirrored, mirrored)


def clusters_of(rows: int) -> int:
    """Return the number of clusters of a search in clusters."""
    return max(1, min(MOST_CLUSTERS, rows // ROWS_PER_CLUSTER))


def table_bytes(rows: int, top_k: int) -> int:
    """Return the size of a table's three arrays."""
    return rows * (8 * top_k + 4) + 3 * NPY_HEADER


def mining_plan(
    machine: Machine,
    rows: int,
    widths: Sequence[int],
    *,
    processes: int,
    max_memory: int | None,
    top_k: int,
) -> tuple[Plan, bool]:
    """Return the engine's plan on such a machine, and whether it fits into the memory.

    Args:
        machine: The constants.
        rows: N rows.
        widths: Components of an embedding, for each modality.
        processes: Processes that share the search.
        max_memory: Bytes of a process; default half of what was free when the machine was measured.
        top_k: Hard pairs of a row.
    """
    allowed = machine.free_memory // 2 if max_memory is None else max_memory

    def plan(memory: int, held: str | None) -> Plan:
        return make_plan(
            rows=rows,
            pool=rows,
            widths=list(widths),
            depth=min(MiningOptions(top_k=top_k).depth, rows),
            max_memory=memory,
            threads=machine.threads,
            processes=processes,
            held=held,
            precision=machine.mining.precision(max(widths)),
            free=machine.free_memory if max_memory is None else int(max_memory / SHARE_OF_FREE),
        )

    try:
        return plan(allowed, None), True
    except UserError:
        return plan(NO_LIMIT, RING if processes > 1 else SHARED), False


def mining_cost(
    machine: Machine,
    rows: int,
    widths: Sequence[int],
    *,
    processes: int = 1,
    max_memory: int | None = None,
    top_k: int = 50,
    share: float = 1.0,
) -> Cost:
    """Return what mining costs.

    Args:
        machine: The constants.
        rows: N rows.
        widths: Components of an embedding, for each modality.
        processes: Processes that share the search.
        max_memory: Bytes of a process; default half of what was free when the machine was measured.
        top_k: Hard pairs of a row.
        share: Share of all pairs that clusters leave; 1 for the exact search.
    """
    plan, fits = mining_plan(
        machine, rows, widths, processes=processes, max_memory=max_memory, top_k=top_k
    )
    stages = {
        **_preparation(machine, plan, widths, processes, share),
        **_search(machine, plan, widths, processes, share),
    }
    travelling = _travelling(plan, widths, processes)
    searching = stages["search"]
    stages["wait for rows"] = max(0.0, travelling / machine.network_rate - searching)
    mapped = rows * row_bytes(widths, plan.precision) if plan.mapped else 0
    committed = _committed(plan, processes)
    to_first = (rows - rows // processes) * _decided_bytes(plan)
    lists = _lists_sent(plan, processes)
    stages["hand over"] += (lists + to_first) / machine.network_rate
    result = table_bytes(rows, top_k)
    filled = 2 * result  # process 0 makes the files of the table, and writes the lists into them
    stages["disk"] = ((mapped + committed) / processes + filled) / machine.write_rate
    stages["files"] = rows * top_k * machine.mining.writing + 2 * rows * 4 * sum(widths) * (
        machine.mining.hashing
    )
    in_memory = mapped if plan.mapped and not plan.resident else 0
    return Cost(
        work="mine, exact" if share == 1 else f"mine, {IVF}",
        processes=processes,
        stages=stages,
        memory=machine.process_bytes + plan.bytes + in_memory,
        written=mapped + committed + filled + result,
        kept=result,
        read=rows * 4 * sum(widths) * 2 + result,
        network=travelling + lists + to_first // max(processes - 1, 1),
        fits=fits,
    )


def _preparation(
    machine: Machine, plan: Plan, widths: Sequence[int], processes: int, share: float
) -> dict[str, float]:
    """Return the seconds before the first pair is compared."""
    rates, width = machine.mining, sum(widths)
    own = plan.rows / processes
    vectors = own * width * rates.unit
    if plan.precision != FLOAT32:
        met = plan.rows * len(plan.list_blocks()) if plan.visiting else own
        vectors += met * width * rates.rounding
    if share < 1:
        return {"vectors": vectors, **_clustering(plan, widths, processes, rates)}
    pivots = min(MOST_PIVOTS, plan.rows // ROWS_PER_PIVOT)
    read = own + pivots * SAMPLE_PER_PIVOT if pivots > 1 else 0.0
    order = read * width * (rates.ordering + pivots * rates.float_product)
    return {"vectors": vectors, "order": order}


def _clustering(
    plan: Plan, widths: Sequence[int], processes: int, rates: MiningRates
) -> dict[str, float]:
    """Return the seconds of clusters, and of the sample that chooses how many are compared."""
    width, count = sum(widths), clusters_of(plan.rows)
    fitted = min(plan.rows, count * FITTED_PER_CLUSTER)
    products = (ITERATIONS * fitted + plan.rows / processes) * count * width
    read = (fitted + plan.rows / processes) * width
    sampled = Work(2 * sample_size(TARGET_RECALL) * plan.rows / processes, 0)
    return {
        "clusters": products * rates.float_product + read * rates.unit,
        "sample": sampled.seconds(rates, widths, plan.product_block)
        + plan.rows / processes * width * rates.unit,
    }


def _search(
    machine: Machine, plan: Plan, widths: Sequence[int], processes: int, share: float
) -> dict[str, float]:
    """Return the seconds of comparing and of deciding."""
    rates, rows = machine.mining, plan.rows
    work = compared(plan, processes, share)
    pairs = work.seconds(rates, widths, block_of(plan, machine.threads, share))
    own = rows / processes
    lists, met = (own, share * rows) if plan.visiting else (rows, share * rows / processes)
    visits = 1 + _rounds(plan, processes) if plan.visiting else 1
    fill, settle, decide = list_seconds(rates, sum(widths), plan.depth, met, visits)
    handed = 0.0
    if processes > 1 and not plan.visiting:
        rate, entries = rates.list_rate(sum(widths)), plan.depth / rates.top_k
        # Each has a part of the entries.
        handed = entries * (own * rate.handing + (rows - own) / processes * rate.taking)
    return {
        "search": pairs + lists * fill,
        "decide": own * (settle + decide),
        "hand over": handed,
    }


def block_of(plan: Plan, threads: int, share: float = 1.0) -> int:
    """Return the rows of the blocks that are multiplied: part of a tile, or of a cluster."""
    block = min(plan.product_block, max(1, plan.tile // threads))
    if share < 1:
        block = min(block, plan.rows // clusters_of(plan.rows))
    return max(1, block)


def list_seconds(
    rates: MiningRates, width: int, depth: int, met: float, visits: int = 1
) -> tuple[float, float, float]:
    """Return the seconds to fill, to settle and to decide one list.

    Args:
        rates: The constants.
        width: Components of both modalities.
        depth: Entries of a list; the work is in proportion to it.
        met: Columns that the list is compared with.
        visits: Times that it is settled. Of columns in random order, visit v brings 1/v as many new
            entries as the first one.
    """
    rate, entries = rates.list_rate(width), depth / rates.top_k
    doublings = math.log2(max(met, 1) / FIRST_COLUMNS)
    fill = max(rate.first + rate.doubling * doublings, 0.0)
    settled = sum(1 / visit for visit in range(1, min(visits, 1000) + 1))
    if visits > 1000:
        settled += math.log(visits / 1000)
    return entries * fill, entries * rate.settling * settled, entries * rate.deciding


def _rounds(plan: Plan, processes: int) -> int:
    """Return how many visits bring rows of other processes to a process."""
    return make_route(plan, Ranks(0, processes)).visits - 1


def _travelling(plan: Plan, widths: Sequence[int], processes: int) -> int:
    """Return the bytes that a process sends to the next one."""
    if not plan.visiting:
        return 0
    others = plan.rows - plan.rows // processes
    return others * 4 * sum(widths) * len(plan.list_blocks())


def _decided_bytes(plan: Plan) -> int:
    """Return the bytes of a final list."""
    return plan.depth * RESULT_ENTRY + RESULT_ROW


def _lists_sent(plan: Plan, processes: int) -> int:
    """Return the bytes of lists of other processes' rows that a process sends."""
    if plan.visiting:
        return 0
    others = plan.rows - plan.rows // processes
    return others * (plan.depth * ENTRY_BYTES // processes + ROW_BYTES)


def _committed(plan: Plan, processes: int) -> int:
    """Return the bytes of lists that several processes commit before they hand them over."""
    if processes == 1:
        return 0
    results = plan.rows * _decided_bytes(plan)
    if plan.visiting:
        return results
    return results + plan.rows * (plan.depth * ENTRY_BYTES + processes * ROW_BYTES)
