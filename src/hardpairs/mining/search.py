"""Exact hard pairs of N rows: low-precision products choose candidates within a proven error bound, a float64 sum in one fixed order decides.

Never holds N x N: rows are taken in tiles, each pair of tiles once for both sides. The result does not depend on tile, block, threads,
processes, interruptions or machine.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from hardpairs.core.ranks import ALONE, Ranks
from hardpairs.mining import kernel
from hardpairs.mining.bound import sum_slack
from hardpairs.mining.filters import METHODS, Filters
from hardpairs.mining.found import Found, Table
from hardpairs.mining.order import similar_together
from hardpairs.mining.plan import DEVICE_TILE, Plan, make_plan
from hardpairs.mining.products import Products, choose_precision
from hardpairs.mining.rows import UnitRows, make_rows
from hardpairs.mining.strips import Strips, agreed_plan
from hardpairs.mining.sweep import Sweep
from hardpairs.mining.work import Work

if TYPE_CHECKING:
    from hardpairs.mining.device import DeviceSweep, HalfProducts

__all__ = ["METHODS", "Found", "hard_pairs", "search"]


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
        exclude: row numbers (no mask) that are neither targets nor candidates.
        approx: size of a seeded random pool of candidate rows (HELIP's fastHPM); default all.
        max_memory: bytes to stay within; default half of what is free.
        filters: the further fields of ``hardpairs.mining.filters.Filters``: range_min, range_max, max_score, image_weight, ...

    Returns:
        indices (N, top_k) int64, padded with -1; scores (N, top_k) float32, padded with 0.

    Raises:
        ValueError: shapes or options that make no sense.
        UserError: exit 6 for zero or non-finite rows, naming them; exit 5 when ``max_memory`` is too little.
    """
    rules = Filters(
        duplicate_threshold=duplicate_threshold, similarity_floor=similarity_floor, **filters
    )  # type: ignore[arg-type]
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
    _check_rows(len(image), groups, exclude)
    ranks = ranks or ALONE
    sides = {
        "HPM": ((image, "image"), (text, "text")),
        "image": ((image, "image"),),
        "text": ((text, "text"),),
    }[method]
    order, pool = _search_order(
        [rows for rows, _ in sides], exclude, approx, seed, device, work, ranks
    )
    widths = [rows.shape[1] for rows, _ in sides]
    precision = (
        "float32" if runs_on_device(device) else precision or choose_precision(max(widths), device)
    )
    plan = make_plan(
        rows=len(order),
        pool=pool,
        widths=widths,
        depth=min(filters.depth(top_k), max(pool, 1)),
        max_memory=max_memory,
        shared=ranks.world_size > 1,
        precision=precision,
        **(
            {"tile": DEVICE_TILE, "block": DEVICE_TILE}
            if runs_on_device(device)
            else {"threads": torch.get_num_threads()}
        ),
    )
    plan, order = agreed_plan(plan, order, work, ranks)
    with contextlib.ExitStack() as stack:
        if plan.mapped and work is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hard_pairs_"))
            work = Work(Path(folder) / "work", dict)
        rows = make_rows(sides, order, plan, work, ranks)
        sweep = _sweep(_kernel_data(rows.unit, order, groups, filters, method), rows, plan, device)
        if verbose and ranks.rank == 0:
            print(f"{plan.text()}, {_expected(plan, sweep.products, ranks)}", file=sys.stderr)
        table = Table(len(image) if ranks.rank == 0 else 0, order, pool, top_k, filters, method)
        for lists in Strips(plan, sweep, work, ranks).run(verbose):
            table.add(lists)
    return table.found() if ranks.rank == 0 else None


def runs_on_device(device: str) -> bool:
    """Whether the loop over all pairs runs on an accelerator (``hardpairs.mining.device``) or is the CPU's compiled one."""
    return device.startswith("cuda")


def _sweep(data: kernel.Data, rows: UnitRows, plan: Plan, device: str) -> Sweep | DeviceSweep:
    if not runs_on_device(device):
        return Sweep(data, Products(rows.multiplied, rows.errors, plan.block), plan.depth)
    from hardpairs.mining.device import DeviceSweep  # triton only where it is used

    return DeviceSweep(data, rows.unit, plan.depth, device, plan.tile)


def _check_arguments(
    image: np.ndarray, text: np.ndarray, top_k: int, filters: Filters, method: str
) -> None:
    if image.ndim != 2 or text.ndim != 2 or len(image) != len(text):
        raise ValueError(
            f"image and text embeddings must be (N, D) with equal N, not {tuple(image.shape)} and {tuple(text.shape)}"
        )
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, not {top_k}")
    filters.check(method, (image.shape[1], text.shape[1]))


def _check_rows(count: int, groups: np.ndarray | None, exclude: np.ndarray | None) -> None:
    given = np.asarray([] if exclude is None else exclude)
    if given.size and (
        given.ndim != 1 or given.dtype.kind not in "iu" or given.min() < 0 or given.max() >= count
    ):
        raise ValueError(
            f"exclude must be row numbers from 0 to {count - 1}; of a mask: np.flatnonzero(mask)"
        )
    if groups is not None and (
        np.ndim(groups) not in (1, 2)
        or len(groups) != count
        or np.asarray(groups).dtype.kind not in "iu"
    ):
        raise ValueError(
            f"groups must be integers of shape ({count},) or ({count}, G), not {np.asarray(groups).dtype} {np.shape(groups)}"
        )


def _as_numpy(rows: np.ndarray | torch.Tensor) -> np.ndarray:
    if isinstance(rows, torch.Tensor):
        rows = rows.detach().cpu()
        return (rows.float() if rows.dtype == torch.bfloat16 else rows).numpy()
    return rows


def _search_order(
    sides: list[np.ndarray],
    exclude: np.ndarray | None,
    approx: int | None,
    seed: int,
    device: str,
    work: Work | None = None,
    ranks: Ranks = ALONE,
) -> tuple[np.ndarray, int]:
    """Row numbers of all targets, candidates first, similar ones together in each part; and how many candidates there are."""
    usable = np.ones(len(sides[0]), bool)
    usable[np.asarray([] if exclude is None else exclude, dtype=np.int64)] = False
    candidates, others = np.flatnonzero(usable), np.zeros(0, np.int64)
    if approx is not None and approx < len(candidates):
        pool = np.random.default_rng(seed).choice(candidates, approx, replace=False)
        usable[pool] = False
        candidates, others = np.sort(pool), np.flatnonzero(usable)
    if runs_on_device(device):
        from hardpairs.mining.device import own_device

        device = str(own_device(device))
    return similar_together(sides, candidates, others, device, work, ranks), len(candidates)


def _kernel_data(
    units: list[np.ndarray],
    order: np.ndarray,
    groups: np.ndarray | None,
    filters: Filters,
    method: str,
) -> kernel.Data:
    count = len(order)
    first, second = (
        (units[0], units[1]) if method == "HPM" else (units[0], np.zeros((count, 0), np.float32))
    )
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
    mode = (
        kernel.SINGLE
        if method != "HPM"
        else kernel.PRODUCT
        if filters.image_weight == 0.5
        else kernel.WEIGHTED
    )
    slack = sum_slack(max(unit.shape[1] for unit in units))
    return kernel.Data(
        first,
        second,
        numbers,
        order,
        margin,
        filters.limits(method),
        mode,
        filters.image_weight,
        slack,
    )


def _expected(plan: Plan, products: Products | HalfProducts, ranks: Ranks) -> str:
    """A forecast from the time of one block."""
    side = min(products.block, plan.pool)
    if not side:
        return "nothing to compare"
    for _ in range(2):
        start = time.perf_counter()
        products(slice(0, side), slice(0, side))[-1][
            0, 0
        ].item()  # the number waits for an accelerator
    seconds = (time.perf_counter() - start) / side**2 * plan.pairs() / ranks.world_size
    return f"about {SWEEP_TO_PRODUCTS * seconds:.0f} s"


SWEEP_TO_PRODUCTS = 1.5
"""Time of a whole search to that of its products: a rough figure, for the forecast alone."""
