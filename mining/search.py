"""Exact hard pairs of N rows: low-precision products choose candidates within a proven error bound, a float64 sum in one fixed order decides.

Never holds N x N: rows are taken in tiles, each pair of tiles once for both sides. The result does not depend on tile, block, threads,
processes, interruptions or machine.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from mining import kernel
from mining.bound import sum_slack
from mining.filters import METHODS, REMOVED_BY, Filters
from mining.plan import DEVICE_TILE, Plan, Tile, make_plan
from mining.products import Products, choose_precision
from mining.ranks import Ranks
from mining.rows import Allocate, multiplied_rows, write_unit_rows
from mining.sweep import Sweep, empty_lists, in_threads, make_products, merged, packed, part_of, unpacked
from mining.work import Work

if TYPE_CHECKING:
    from mining.device import DeviceSweep, HalfProducts

__all__ = ["METHODS", "Found", "hard_pairs", "search"]


@dataclass(frozen=True)
class Found:
    """Hard pairs and what was passed over.

    Attributes:
        indices: (N, K) int64, hardest first, padded with -1. scores: (N, K) float32, padded with 0.
        kept: listed pairs. removed: for each filter, candidates that it removed (``mining.filters``); candidates = kept + all removed.
    """

    indices: np.ndarray
    scores: np.ndarray
    kept: int
    removed: dict[str, int]


@dataclass(frozen=True)
class _Result:
    """Lists of a range of rows in search order, ``depth`` wide: see ``kernel.finish``."""

    indices: np.ndarray
    scores: np.ndarray
    removed: np.ndarray


def hard_pairs(
    image_embeddings: np.ndarray | torch.Tensor,
    text_embeddings: np.ndarray | torch.Tensor,
    *,
    top_k: int,
    duplicate_threshold: float = 0.98,
    similarity_floor: float = 0.0,
    groups: np.ndarray | None = None,
    exclude: np.ndarray | None = None,
    method: str = "HPM",
    approx: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    max_memory: int | None = None,
    **filters: float | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The ``top_k`` hardest partners of each row.

    score(i, j) = max(x_i.x_j, 0) * max(y_i.y_j, 0) over unit rows (HELIP, arXiv 2305.05208, Eq. 5; ``method`` "image" or "text" takes
    one factor). Left out: j = i, near duplicates (either similarity above ``duplicate_threshold``; a single-modality method looks at
    its own), rows of the same group, score 0. Order: score as stored (float64 rounded to float32) descending, then j ascending.
    Unlike the published script, two negative similarities never make a positive score, and a row is itself by its number.

    Args:
        image_embeddings, text_embeddings: (N, D_image), (N, D_text), any floating dtype; rows need not be normalised; may be mapped.
        similarity_floor: tau; a factor below it counts as 0.
        groups: (N,) or (N, G) integers; rows that share a value in any column are known positives.
        exclude: row numbers that are neither targets nor candidates.
        approx: size of a seeded random pool of candidate rows (HELIP's fastHPM); default all.
        max_memory: bytes to stay within; default half of what is free.
        filters: the further fields of ``mining.filters.Filters``: range_min, range_max, max_score, image_weight, ...

    Returns:
        indices (N, top_k) int64, padded with -1; scores (N, top_k) float32, padded with 0.

    Raises:
        ValueError: shapes or options that make no sense.
        UserError: exit 6 for zero or non-finite rows, naming them; exit 5 when ``max_memory`` is too little.
    """
    rules = Filters(duplicate_threshold=duplicate_threshold, similarity_floor=similarity_floor, **filters)  # type: ignore[arg-type]
    found = search(
        _as_numpy(image_embeddings),
        _as_numpy(text_embeddings),
        top_k=top_k,
        filters=rules,
        groups=groups,
        exclude=exclude,
        method=method,
        approx=approx,
        seed=seed,
        device=device,
        max_memory=max_memory,
    )
    assert found is not None
    return found.indices, found.scores


def search(
    image: np.ndarray,
    text: np.ndarray,
    *,
    top_k: int,
    filters: Filters,
    groups: np.ndarray | None = None,
    exclude: np.ndarray | None = None,
    method: str = "HPM",
    approx: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    max_memory: int | None = None,
    precision: str | None = None,
    work: Work | None = None,
    ranks: Ranks | None = None,
    verbose: bool = False,
) -> Found | None:
    """``hard_pairs`` with what a command needs beside: counts, restart, several processes, a plan told in advance.

    Args:
        precision: "bfloat16" or "float32" for the products that choose candidates; default the faster one here. Same result.
        work: where unfinished work is committed; needed by several processes, which share the unit rows through it.
        verbose: print the plan and a progress bar.

    Returns:
        On rank 0 what was found; ``None`` on the others.
    """
    _check_arguments(image, text, top_k, filters, method)
    ranks = ranks or Ranks()
    order, pool = _search_order(len(image), exclude, approx, seed)
    sides = {"HPM": ((image, "image"), (text, "text")), "image": ((image, "image"),), "text": ((text, "text"),)}[method]
    widths = [rows.shape[1] for rows, _ in sides]
    depth = filters.depth(top_k)
    with contextlib.ExitStack() as stack:
        sizes = {"rows": len(order), "pool": pool, "widths": widths, "depth": min(depth, max(pool, 1))}
        sizes |= {"tile": DEVICE_TILE} if runs_on_device(device) else {}
        plan = _plan(work, ranks, max_memory=max_memory, **sizes)
        if plan.mapped and work is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hard_pairs_"))
            work = Work(Path(folder) / "work", dict)
        units, multiplied, errors = _rows(sides, order, plan, work, ranks, "float32" if runs_on_device(device) else precision, device)
        data = _kernel_data(units, order, groups, filters, method)
        sweep = _sweep(data, units, multiplied, errors, plan, device)
        if verbose and ranks.rank == 0:
            print(f"{plan.text()}, {_expected(plan, sweep.products, ranks)}", file=sys.stderr)
        results = _strips(plan, sweep, work, ranks, verbose)
    if ranks.rank:
        return None
    return _assemble(results, order, len(image), pool, top_k, filters, method)


def runs_on_device(device: str) -> bool:
    """Whether the loop over all pairs runs on an accelerator (``mining.device``) or is the CPU's compiled one."""
    return device.startswith("cuda")


def _sweep(
    data: kernel.Data, units: list[np.ndarray], multiplied: list[np.ndarray], errors: list[float], plan: Plan, device: str
) -> Sweep | DeviceSweep:
    if not runs_on_device(device):
        return Sweep(data, make_products(multiplied, errors, plan, device), plan.depth)
    from mining.device import DeviceSweep  # triton only where it is used

    return DeviceSweep(data, units, plan.depth, device, plan.tile)


def _check_arguments(image: np.ndarray, text: np.ndarray, top_k: int, filters: Filters, method: str) -> None:
    if image.ndim != 2 or text.ndim != 2 or len(image) != len(text):
        raise ValueError(f"image and text embeddings must be (N, D) with equal N, not {tuple(image.shape)} and {tuple(text.shape)}")
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, not {top_k}")
    filters.check(method, (image.shape[1], text.shape[1]))


def _as_numpy(rows: np.ndarray | torch.Tensor) -> np.ndarray:
    if isinstance(rows, torch.Tensor):
        rows = rows.detach().cpu()
        return (rows.float() if rows.dtype == torch.bfloat16 else rows).numpy()
    return rows


def _search_order(count: int, exclude: np.ndarray | None, approx: int | None, seed: int) -> tuple[np.ndarray, int]:
    """Row numbers of all targets, candidates first, each part ascending; and how many candidates there are."""
    usable = np.ones(count, bool)
    usable[np.asarray([] if exclude is None else exclude, dtype=np.int64)] = False
    candidates = np.flatnonzero(usable)
    if approx is None or approx >= len(candidates):
        return candidates, len(candidates)
    pool = np.sort(np.random.default_rng(seed).choice(candidates, approx, replace=False))
    usable[pool] = False
    return np.concatenate((pool, np.flatnonzero(usable))), approx


def _plan(work: Work | None, ranks: Ranks, **sizes) -> Plan:
    """A new plan, or the one that unfinished work was done by: free memory may have changed since, its tiles must not."""
    if ranks.rank == 0:
        stored = work.load("plan") if work else None
        plan = Plan(**{name: value.item() for name, value in stored.items()}) if stored else make_plan(shared=ranks.world_size > 1, **sizes)
        if work and ranks.world_size > 1:
            work.save("plan", **{name: np.array(value) for name, value in asdict(plan).items()})
    ranks.barrier()
    if ranks.rank:
        assert work is not None
        stored = work.load("plan")
        assert stored is not None
        plan = Plan(**{name: value.item() for name, value in stored.items()})
    return plan


def _rows(
    sides, order: np.ndarray, plan: Plan, work: Work | None, ranks: Ranks, precision: str | None, device: str
) -> tuple[list[np.ndarray], list[np.ndarray], list[float]]:
    """Unit rows, the rows to multiply, and their errors; made by rank 0, mapped by all where the plan says so."""
    if ranks.rank:
        ranks.barrier()
        assert work is not None
        stored = work.load("rows")
        assert stored is not None
        units = [work.map(name, (), np.float32, create=False) for _, name in sides]
        low = bool(stored["low"])
        return (
            units,
            [work.map(f"{name}_bfloat16", (), np.uint16, create=False) for _, name in sides] if low else units,
            stored["errors"].tolist(),
        )

    def allocate(name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        if plan.mapped:
            assert work is not None
            return work.map(name, shape, dtype, create=True)
        return np.empty(shape, dtype)

    precision = precision or choose_precision(max(rows.shape[1] for rows, _ in sides), device)
    units, multiplied, errors = _make_rows(sides, order, precision, allocate)
    if ranks.world_size > 1:
        assert work is not None
        work.save("rows", low=np.array(precision == "bfloat16"), errors=np.array(errors))
    ranks.barrier()
    return units, multiplied, errors


def _make_rows(sides, order: np.ndarray, precision: str, allocate: Allocate) -> tuple[list[np.ndarray], list[np.ndarray], list[float]]:
    units, multiplied, errors = [], [], []
    for embeddings, name in sides:
        unit = allocate(name, (len(order), embeddings.shape[1]), np.float32)
        write_unit_rows(embeddings, order, name, unit)
        rows, error = multiplied_rows(unit, precision, name, allocate)
        units.append(unit)
        multiplied.append(rows)
        errors.append(error)
    return units, multiplied, errors


def _kernel_data(units: list[np.ndarray], order: np.ndarray, groups: np.ndarray | None, filters: Filters, method: str) -> kernel.Data:
    count = len(order)
    first, second = (units[0], units[1]) if method == "HPM" else (units[0], np.zeros((count, 0), np.float32))
    numbers = np.zeros((count, 0), np.int64)
    if groups is not None:
        all_groups = np.asarray(groups, np.int64)
        numbers = np.ascontiguousarray(all_groups.reshape(len(all_groups), -1)[order])
    margin = np.zeros(0)
    if filters.has_margin:
        own = np.empty(count)
        kernel.own_similarity(first, second, own)
        margin = np.minimum(
            own - (-np.inf if filters.absolute_margin is None else filters.absolute_margin),
            np.inf if filters.relative_margin is None else (1 - filters.relative_margin) * own,
        )
    mode = kernel.SINGLE if method != "HPM" else kernel.PRODUCT if filters.image_weight == 0.5 else kernel.WEIGHTED
    slack = sum_slack(max(unit.shape[1] for unit in units))
    return kernel.Data(first, second, numbers, order, margin, filters.limits(method), mode, filters.image_weight, slack)


def _expected(plan: Plan, products: Products | HalfProducts, ranks: Ranks) -> str:
    """A forecast from the time of one block."""
    side = min(products.block, plan.pool)
    if not side:
        return "nothing to compare"
    for _ in range(2):
        start = time.perf_counter()
        products(slice(0, side), slice(0, side))[-1][0, 0].item()  # the number waits for an accelerator
    seconds = (time.perf_counter() - start) / side**2 * plan.pairs() / ranks.world_size
    return f"about {SWEEP_TO_PRODUCTS * seconds:.0f} s"


SWEEP_TO_PRODUCTS = 2.0
"""Time of a whole search to that of its products (benchmarks/results/mining.json)."""


def _strips(plan: Plan, sweep: Sweep | DeviceSweep, work: Work | None, ranks: Ranks, verbose: bool) -> list[_Result]:
    """The lists of all strips; on ranks other than 0, nothing."""
    results = []
    total = sum(tile.cost for strip in plan.strips() for tile in _own(plan.tiles(*strip), ranks))
    bar = tqdm(
        total=total, unit="pair", unit_scale=True, desc="mine", file=sys.stderr, disable=None if verbose and not ranks.rank else True
    )
    several = ranks.world_size > 1 or plan.strip < plan.rows
    with bar:
        for number, (start, stop) in enumerate(plan.strips()):
            name = f"result{number}_{ranks.rank}"
            stored = work.load(name) if work else None
            result = _Result(**stored) if stored else None
            if result is None:
                tiles = _own(plan.tiles(start, stop), ranks)
                lists = _fill(plan, tiles, start, stop, sweep, work, f"lists{number}_{ranks.rank}", bar)
                if ranks.world_size > 1:
                    assert work is not None
                    work.save(f"lists{number}_{ranks.rank}", position=np.array(len(tiles)), **packed(lists))
            ranks.barrier()
            if result is None:
                result = _decide(plan, start, stop, lists, sweep, work, ranks, number)
                if work and several:
                    _keep_plan(work, plan)
                    work.save(name, **vars(result))
            ranks.barrier()
            if work:
                work.forget(f"lists{number}_{ranks.rank}")
            if ranks.rank == 0:
                results += _gather(result, number, work, ranks)
    return results


def _own(tiles: list[Tile], ranks: Ranks) -> list[Tile]:
    """This rank's share: each tile to the rank that has least so far."""
    loads = [0] * ranks.world_size
    mine = []
    for tile in tiles:
        rank = loads.index(min(loads))
        loads[rank] += tile.cost
        if rank == ranks.rank:
            mine.append(tile)
    return mine


def _fill(
    plan: Plan, tiles: list[Tile], start: int, stop: int, sweep: Sweep | DeviceSweep, work: Work | None, name: str, bar: tqdm
) -> kernel.State:
    """Lists of rows [start, stop) from these tiles, going on from committed ones."""
    stored = work.load(name) if work else None
    if stored is None:
        position, lists = 0, empty_lists(stop - start, plan.capacity, float(sweep.data.limits[kernel.LEAST]))
    else:
        position, lists = int(stored.pop("position")), unpacked(stored, plan.capacity)
        bar.update(sum(tile.cost for tile in tiles[:position]))
    for done, tile in enumerate(tiles[position:], start=position + 1):
        sweep.tile(tile, lists, start)
        bar.update(tile.cost)
        if work and work.due() and done < len(tiles):
            sweep.flush()
            _keep_plan(work, plan)
            work.save(name, position=np.array(done), **packed(lists))
    sweep.flush()
    return lists


def _keep_plan(work: Work, plan: Plan) -> None:
    if work.writer and work.load("plan") is None:
        work.save("plan", **{name: np.array(value) for name, value in asdict(plan).items()})


def _decide(
    plan: Plan, start: int, stop: int, lists: kernel.State, sweep: Sweep | DeviceSweep, work: Work | None, ranks: Ranks, number: int
) -> _Result:
    """Final lists of this rank's share of the strip, from what every rank put into them."""
    top, bottom = start, stop
    if ranks.world_size > 1:
        assert work is not None
        top, bottom = ranks.share(start, stop)
        parts = []
        for rank in range(ranks.world_size):
            stored = work.load(f"lists{number}_{rank}")
            assert stored is not None
            parts.append(part_of(stored, top - start, bottom - start))
        lists = merged(parts, 0)
    count = bottom - top
    indices, scores = np.full((count, plan.depth), -1, np.int64), np.zeros((count, plan.depth), np.float32)
    removed, last = np.zeros((count, kernel.REASONS), np.int64), np.zeros(count, np.uint64)
    in_threads(kernel.finish, count, lists.column.shape[1], sweep.data, lists, plan.depth, top, indices, scores, removed, last)
    again = np.flatnonzero(lists.spilled)
    if len(again):
        counts = removed[again]
        sweep.count_removed(again + top, plan.pool, last[again], counts)
        removed[again] = counts
    return _Result(indices, scores, removed)


def _gather(own: _Result, number: int, work: Work | None, ranks: Ranks) -> list[_Result]:
    results = [own]
    for rank in range(1, ranks.world_size):
        assert work is not None
        stored = work.load(f"result{number}_{rank}")
        assert stored is not None
        results.append(_Result(**stored))
    return results


def _assemble(results: list[_Result], order: np.ndarray, count: int, pool: int, top_k: int, filters: Filters, method: str) -> Found:
    """Lists of all N rows by row number, cut to the wanted ranks, and the sums of what was removed."""
    indices, scores = np.full((count, top_k), -1, np.int64), np.zeros((count, top_k), np.float32)
    removed = dict.fromkeys(REMOVED_BY, 0)
    kept, top = 0, 0
    stop = filters.depth(top_k) if filters.range_max is None else min(filters.range_max, filters.depth(top_k))
    for result in results:
        rows, lengths = order[top : top + len(result.indices)], (result.indices >= 0).sum(axis=1)
        width = max(0, min(stop, result.indices.shape[1]) - filters.range_min)
        window = slice(filters.range_min, filters.range_min + width)
        indices[rows, :width], scores[rows, :width] = result.indices[:, window], result.scores[:, window]
        listed = int((result.indices[:, window] >= 0).sum())
        kept += listed
        removed["range"] += int(lengths.sum()) - listed
        for reason, total in enumerate(result.removed.sum(axis=0)):
            if reason != kernel.KEPT:
                name = REMOVED_BY[reason - 1]  # the kernel knows a first and a second modality
                removed[name.replace("image", "text") if method == "text" else name] += int(total)
        if filters.min_score is not None and filters.min_score == filters.limits(method)[kernel.LEAST] > 0:
            others = pool - (np.arange(top, top + len(rows)) < pool)
            passed = lengths + result.removed.sum(axis=1)
            removed["min_score"] += int(((lengths < min(filters.depth(top_k), pool)) & (passed < others)).sum())
        top += len(rows)
    return Found(indices, scores, kept, removed)
