"""Search hard pairs in arrays of embeddings.

The search is exact: low-precision products choose candidates within a proven error bound, and a
float64 sum in one fixed order decides. It never holds N x N numbers. Its result does not depend on
tiles, blocks, threads, processes, interruptions or the machine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from hardpairs.core.progress import Progress
from hardpairs.core.ranks import ALONE, Ranks
from hardpairs.data.remote_rows import Rows
from hardpairs.data.stacked import leave_to_disk
from hardpairs.mining.cluster_grid import ClusterGrid
from hardpairs.mining.clusters import Probing, exact_because, make_clusters
from hardpairs.mining.engine import Engine, cpu, is_accelerator, kernel, open_engine
from hardpairs.mining.engine.device_memory import device_sizes, free_device_memory
from hardpairs.mining.engine.error_bound import sum_error
from hardpairs.mining.finished_pools import FinishedPools
from hardpairs.mining.list_blocks import ListBlocks, agreed_plan, engine_sizes
from hardpairs.mining.low_precision import FLOAT16, FLOAT32
from hardpairs.mining.options import IVF, MiningOptions
from hardpairs.mining.paging import Paging
from hardpairs.mining.plan import DEVICE_TILE, RING, TILE, Grid, Plan, make_plan
from hardpairs.mining.pools import Pool, Pools
from hardpairs.mining.recall import (
    CHOICE_STREAM,
    SAMPLE_STREAM,
    ExactLists,
    draw_sample,
    sample_size,
    search_sample,
)
from hardpairs.mining.result import DatasetRows, Lists, MiningResult, ResultBuilder, add_each
from hardpairs.mining.ring import Ring
from hardpairs.mining.ring_blocks import RingBlocks
from hardpairs.mining.route import make_route
from hardpairs.mining.unit_vectors import (
    ROWS_PER_PIVOT,
    Range,
    make_unit_vectors,
    order_by_similarity,
)

SEARCH_TO_PRODUCTS = 1.5
"""Time of a whole search to that of its products: a rough figure, for the forecast alone."""


@dataclass(frozen=True)
class Execution:
    """Options for running a search. They do not change its result.

    Attributes:
        device: Such as ``cpu`` or ``cuda``.
        max_memory: Bytes to stay within; default half of what is free.
        max_device_memory: The same on an accelerator, without what CUDA itself takes; default
            nine tenths of what is free. Rows for which there is no room wait in the host's memory.
        precision: "float32", "bfloat16" or "int8" for the products that choose candidates; default
            the fastest one here.
        progress: Where unfinished work is committed. Several ranks that map one file of the unit
            vectors need one folder; in a ring, each may have a folder of its own.
        ranks: This process and the others that share the search.
        verbose: Print the plan and a progress bar to stderr.
        held: Where several ranks have the rows: "shared" for one file that all of them map, "ring"
            for a share in the memory of each; by default the ring where not all rows fit into
            ``max_memory``.
        measures_recall: Measure the recall of an approximate search, see
            ``hardpairs.mining.recall``.
        beside: Bytes that are in memory beside the search, and count for ``max_memory``.
    """

    device: str = "cpu"
    max_memory: int | None = None
    max_device_memory: int | None = None
    precision: str | None = None
    progress: Progress | None = None
    ranks: Ranks = ALONE
    verbose: bool = False
    held: str | None = None
    measures_recall: bool = True
    beside: int = 0


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
    approx_targets: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    max_memory: int | None = None,
    max_device_memory: int | None = None,
    **filters: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``top_k`` hardest pairs of each row.

    score(i, j) = max(x_i.x_j, 0) * max(y_i.y_j, 0) over unit vectors (HELIP, arXiv 2305.05208, Eq.
    5; the methods "image" and "text" take one factor). The method "cross-modal" has score(i, j) =
    max(x_i.y_j, y_i.x_j, 0), so that a list holds the nearest captions of the image and the nearest
    images of the caption. Left out are j = i, near duplicates (x_i.x_j or y_i.y_j above
    ``duplicate_threshold``; a single-modality method looks at its own), rows of the same group, and
    score 0. Pairs are sorted by the score as stored (float64 rounded to
    float32), descending, then by j, ascending. Unlike in the published script, two negative
    similarities never make a positive score, and a row is itself by its number.

    Args:
        image_embeddings: (N, D_image), any floating dtype; rows need not be normalized; may be a
            memory map.
        text_embeddings: (N, D_text), likewise.
        top_k: K, hard pairs of each row.
        duplicate_threshold: A similarity above it makes a pair a near duplicate.
        similarity_floor: tau; a similarity below it counts as 0.
        groups: (N,) or (N, G) integers; rows that share a value in any column are of one group.
        exclude: Row numbers (no mask) that are neither targets nor candidates.
        method: "HPM", "image", "text" or, for embeddings of one space, "cross-modal".
        approx: Size of a seeded random pool of candidate rows (HELIP's fastHPM); default all.
            ``candidates="ivf"`` compares rows with those of their nearest clusters instead.
        approx_targets: Targets that share a pool, by default all of them; the next ones get
            another one.
        seed: Seed of the pools.
        device: Such as ``cpu`` or ``cuda``.
        max_memory: Bytes to stay within; default half of what is free.
        max_device_memory: The same on an accelerator; default nine tenths of what is free.
        **filters: Further fields of ``hardpairs.mining.options.MiningOptions``: range_min,
            range_max, max_score, image_weight, candidates, target_recall, ...

    Returns:
        indices (N, top_k) int64, padded with -1; scores (N, top_k) float32, padded with 0.

    Raises:
        ValueError: Shapes or options make no sense.
        UserError: Exit 6 for zero or non-finite rows, naming them; exit 5 when ``max_memory`` is
            too little.
    """
    options = MiningOptions(
        top_k=top_k,
        duplicate_threshold=duplicate_threshold,
        similarity_floor=similarity_floor,
        method=method,
        approx=approx,
        approx_targets=approx_targets,
        seed=seed,
        **filters,
    )
    result = search(
        _as_numpy(image_embeddings),
        _as_numpy(text_embeddings),
        options,
        groups=groups,
        exclude=exclude,
        execution=Execution(device, max_memory, max_device_memory, measures_recall=False),
    )
    assert result is not None
    return result.indices, result.scores


def search(
    image: Rows,
    text: Rows,
    options: MiningOptions,
    *,
    groups: np.ndarray | None = None,
    exclude: np.ndarray | None = None,
    rows: DatasetRows | None = None,
    execution: Execution | None = None,
) -> MiningResult | None:
    """Return the hard pairs with the counts of all filters.

    With progress, the result is in mapped files, written block by block, and no process has all of
    it in memory. The files are those of the progress: what is to stay is copied from there.

    Args:
        image: (N, D_image) embeddings.
        text: (N, D_text) embeddings.
        options: What decides the result.
        groups: As in ``hard_pairs``.
        exclude: As in ``hard_pairs``.
        rows: The rows of a data set that the embeddings are of. The result is of all its rows. By
            default it is of the embeddings.
        execution: How the search runs.

    Returns:
        The result on rank 0, ``None`` on the others.

    Raises:
        ValueError: Shapes or options do not go together.
        UserError: As ``hard_pairs``.
    """
    execution = execution or Execution()
    _check_shapes(image, text, groups, exclude)
    options.check_widths(image.shape[1], text.shape[1])
    embeddings = {"image": image, "text": text}
    if options.method in embeddings:
        embeddings = {options.method: embeddings[options.method]}
    first, progress = execution.ranks.rank == 0, execution.progress
    builder = ResultBuilder(DatasetRows.all(0), options)
    if first:
        builder = ResultBuilder(rows or DatasetRows.all(len(image)), options, progress)
        execution = dataclasses.replace(execution, beside=execution.beside + builder.memory)
    pools = Pools(len(image), exclude, options)
    arguments = embeddings, groups, options, execution
    sample, clusters = None, None
    in_clusters = options.candidates == IVF
    if in_clusters and (reason := exact_because(len(pools.rows), options.aimed_recall)):
        _tell(execution, reason)
        in_clusters = False
    if in_clusters:
        sample, probing = _search_clusters(pools.rows, *arguments, builder)
        clusters = probing.for_manifest()
    else:
        if execution.measures_recall and not pools.takes_all:
            sample = _exact_lists(draw_sample(pools.rows, options.seed), pools.rows, *arguments)
        if len(pools) == 1:
            add_each(_lists(pools[0], *arguments), builder.add)
        else:
            _search_pools(pools, *arguments, builder)
    if not first:
        return None
    return dataclasses.replace(builder.result(sample), clusters=clusters)


def _exact_lists(
    sample: np.ndarray,
    rows: np.ndarray,
    embeddings: Mapping[str, Rows],
    groups: np.ndarray | None,
    options: MiningOptions,
    execution: Execution,
) -> ExactLists:
    """Return the exact lists of a sample of rows. An interrupted search need not repeat them."""
    _tell(execution, f"{len(sample)} rows are searched exactly, to measure recall")
    alone = dataclasses.replace(execution, progress=None, ranks=ALONE, verbose=False)

    def search_pool(pool: Pool) -> Iterator[Lists]:
        return _lists(pool, embeddings, groups, options, alone)

    return search_sample(
        sample, rows, search_pool, options.depth, execution.progress, execution.ranks
    )


def _search_clusters(
    rows: np.ndarray,
    embeddings: Mapping[str, Rows],
    groups: np.ndarray | None,
    options: MiningOptions,
    execution: Execution,
    builder: ResultBuilder,
) -> tuple[ExactLists | None, Probing]:
    """Compare rows with those of their nearest clusters.

    Two samples are drawn from all rows. One chooses the number of clusters and would flatter the
    recall; the other would be biased against it if it had to avoid the rows of the first.

    Returns:
        The sample to measure recall on, where that is to be measured, and what was compared.
    """
    measures, target = execution.measures_recall, options.aimed_recall
    choosing, measuring = (
        draw_sample(rows, options.seed, stream, sample_size(target))
        for stream in (CHOICE_STREAM, SAMPLE_STREAM)
    )
    sample = np.union1d(choosing, measuring) if measures else choosing
    exact = _exact_lists(sample, rows, embeddings, groups, options, execution)
    clusters = make_clusters(embeddings, rows, options.seed, execution.ranks)
    probing = Probing(clusters, clusters.probes_for(target, exact.of(choosing)))
    _tell(execution, probing.text(target))
    pool = Pool(rows, rows)
    add_each(_lists(pool, embeddings, groups, options, execution, probing), builder.add)
    return exact.of(measuring) if measures and not probing.is_exact else None, probing


def _tell(execution: Execution, text: str) -> None:
    if execution.verbose and execution.ranks.rank == 0:
        print(text, file=sys.stderr)


def _search_pools(
    pools: Pools,
    embeddings: Mapping[str, Rows],
    groups: np.ndarray | None,
    options: MiningOptions,
    execution: Execution,
    builder: ResultBuilder,
) -> None:
    """Search one pool after the other, and commit the lists of finished ones."""
    progress, ranks = execution.progress, execution.ranks
    done = FinishedPools(progress, ranks, builder)
    speaks = execution.verbose and ranks.rank == 0
    if speaks:
        print(f"{len(pools)} pools, one after the other; the next one:", file=sys.stderr)
    hidden = None if speaks else True  # None: unless on a terminal
    bar = tqdm(total=len(pools), initial=done.count, disable=hidden, unit="pool", file=sys.stderr)
    with bar:
        for number in range(done.count, len(pools)):
            part = None if progress is None else progress.part(f"pool{number}")
            verbose = execution.verbose and number == done.count  # the plans are much alike
            one = dataclasses.replace(execution, progress=part, verbose=verbose)
            add_each(_lists(pools[number], embeddings, groups, options, one), done.add)
            done.finish(number, part)
            bar.update()


def _lists(
    pool: Pool,
    embeddings: Mapping[str, Rows],
    groups: np.ndarray | None,
    options: MiningOptions,
    execution: Execution,
    probing: Probing | None = None,
) -> Iterator[Lists]:
    """Yield the lists of a pool's targets, with what ``ResultBuilder.add`` takes beside them."""
    progress, ranks = execution.progress, execution.ranks
    if probing is None:
        order, first_target = search_order(list(embeddings.values()), pool, execution)
    else:
        order, first_target = probing.clusters.order, 0
    widths = [rows.shape[1] for rows in embeddings.values()]
    compared = len(pool.candidates) if probing is None else 0  # of clusters, unknown here
    counts = len(order), len(pool.candidates), first_target
    own = _plan(*counts, compared, widths, groups, options, execution)
    plan, order = agreed_plan(own, order, progress, ranks)
    grid: Grid = plan
    if probing is not None:
        grid = ClusterGrid(plan, probing.clusters, probing.probes)
    with contextlib.ExitStack() as stack:
        if plan.mapped and progress is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hard_pairs_"))
            progress = Progress(Path(folder) / "progress", {})
        route = make_route(plan, ranks) if plan.visiting else None
        kept = None if route is None else route.own
        vectors = make_unit_vectors(embeddings, order, plan, progress, ranks, kept)
        data = kernel_data(vectors.unit, order, groups, options, plan.depth, kept)
        engine = open_engine(data, vectors, engine_sizes(plan, own), execution.device)
        if route is None:
            paging = Paging([*vectors.unit, *vectors.multiplied], plan.resident)
            blocks = ListBlocks(plan, engine, progress, ranks, grid, paging)
        else:
            ring = Ring(vectors, route, ranks)
            blocks = RingBlocks(plan, engine, progress, ranks, grid, ring)
        if execution.verbose and ranks.rank == 0:
            print(f"{plan.text()}, {_forecast(plan, engine, blocks)}", file=sys.stderr)
        top = plan.first_target
        for decided in blocks.run(execution.verbose):
            positions = np.arange(top, top + len(decided.indices))
            yield decided, order[positions], grid.others(positions)
            top += len(positions)
            del decided  # the next block needs the memory


def _plan(
    rows: int,
    pool: int,
    first_target: int,
    compared: int,
    widths: list[int],
    groups: np.ndarray | None,
    options: MiningOptions,
    execution: Execution,
) -> Plan:
    make = functools.partial(
        make_plan,
        rows=rows,
        pool=pool,
        widths=widths,
        depth=min(options.depth, max(pool, 1)),
        max_memory=execution.max_memory,
        processes=execution.ranks.world_size,
        first_target=first_target,
    )
    if not is_accelerator(execution.device):
        precision = execution.precision or cpu.choose_precision(
            max(widths), execution.device, compared
        )
        threads, beside = torch.get_num_threads(), execution.beside
        return make(held=execution.held, precision=precision, beside=beside, threads=threads)

    sizes = functools.partial(
        device_sizes,
        rows=rows,
        widths=widths,
        groups=0 if groups is None else math.prod(groups.shape[1:]),
        tile=DEVICE_TILE,
        allowed=_device_memory(execution),
    )

    def on_device(held: str | None) -> Plan:
        device = sizes(streamed=held == RING)
        return make(
            held=held,
            precision=FLOAT16 if device.rows else FLOAT32,
            beside=execution.beside + device.host_bytes,
            tile=device.tile,
            product_block=device.tile,
            accelerated=True,
            on_device=device.rows,
        )

    plan = on_device(execution.held)
    if plan.visiting and not plan.on_device:  # all rows do not fit into the host's memory
        plan = on_device(RING)
    return plan


def _device_memory(execution: Execution) -> int:
    """Return the bytes that each process may take on its device."""
    from hardpairs.mining.engine.cuda import own_device

    if execution.max_device_memory is not None:
        return execution.max_device_memory
    least = np.array([-free_device_memory(own_device(execution.device))])
    execution.ranks.maximum(least)
    return -int(least[0])


def _check_shapes(
    image: Rows, text: Rows, groups: np.ndarray | None, exclude: np.ndarray | None
) -> None:
    if image.ndim != 2 or text.ndim != 2 or len(image) != len(text):
        raise ValueError(
            "image and text embeddings must be (N, D) with equal N, not "
            f"{tuple(image.shape)} and {tuple(text.shape)}"
        )
    count, rows = len(image), np.asarray([] if exclude is None else exclude)
    is_list = rows.ndim == 1 and rows.dtype.kind in "iu"
    if rows.size and (not is_list or rows.min() < 0 or rows.max() >= count):
        raise ValueError(
            f"exclude must be row numbers from 0 to {count - 1}; of a mask: np.flatnonzero(mask)"
        )
    if groups is None:
        return
    shape, kind = np.shape(groups), np.asarray(groups).dtype
    if len(shape) not in (1, 2) or shape[0] != count or kind.kind not in "iu":
        raise ValueError(
            f"groups must be integers of shape ({count},) or ({count}, G), not {kind} {shape}"
        )


def _as_numpy(rows: np.ndarray | torch.Tensor) -> np.ndarray:
    if isinstance(rows, torch.Tensor):
        rows = rows.detach().cpu()
        return (rows.float() if rows.dtype == torch.bfloat16 else rows).numpy()
    return rows


def search_order(
    embeddings: Sequence[Rows], pool: Pool, execution: Execution
) -> tuple[np.ndarray, int]:
    """Return the rows of a search, candidates first, and the position of the first target.

    Candidates that are no targets stand before those that are, so that the targets stand together.

    Args:
        embeddings: (N, D) of the modalities that are searched. Similar rows stand together.
        pool: The targets and their candidates.
        execution: The device, and the ranks that share the work.
    """
    others = np.setdiff1d(pool.targets, pool.candidates, assume_unique=True)
    order = np.concatenate((pool.candidates, others))
    if len(pool.targets) >= ROWS_PER_PIVOT:  # for fewer, sorting the candidates takes longer
        device = execution.device
        if is_accelerator(device):
            from hardpairs.mining.engine.cuda import own_device

            device = str(own_device(device))
        order = order_by_similarity(embeddings, pool.candidates, others, device, execution.ranks)
    candidates = order[: len(pool.candidates)]
    is_target = np.isin(candidates, pool.targets)
    order[: len(candidates)] = candidates[np.argsort(is_target, kind="stable")]
    return order, int((~is_target).sum())


def kernel_data(
    units: list[np.ndarray],
    order: np.ndarray,
    groups: np.ndarray | None,
    options: MiningOptions,
    depth: int,
    kept: Sequence[Range] | None = None,
) -> kernel.Data:
    """Return what the kernel makes scores of.

    Args:
        units: (M, D) unit vectors of one or two modalities, in search order.
        order: (M,) row numbers.
        groups: (N,) or (N, G) integers, or ``None``.
        options: The filters.
        depth: Ranks of a list that must be known.
        kept: Rows whose lists are searched here; by default all.
    """
    first, second = units[0], np.zeros((len(order), 0), np.float32)
    if len(units) == 2:
        second = units[1]
    group_ids = np.zeros((len(order), 0), np.int64)
    if groups is not None:
        all_ids = np.asarray(groups, np.int64)
        group_ids = np.ascontiguousarray(all_ids.reshape(len(all_ids), -1)[order])
    return kernel.Data(
        first,
        second,
        group_ids,
        order,
        _margins(first, second, options, kept or [(0, len(order))]),
        options.limits(),
        options.mode,
        options.image_weight,
        sum_error(max(unit.shape[1] for unit in units)),
        depth,
    )


def _margins(
    first: np.ndarray, second: np.ndarray, options: MiningOptions, kept: Sequence[Range]
) -> np.ndarray:
    """Return what x_i.y_j must not exceed, (M,) float64; (0,) without a margin."""
    if not options.has_margin:
        return np.zeros(0)
    own, margins = np.zeros(len(first)), np.full(len(first), np.inf)
    pieces = [(a, min(a + TILE, stop)) for start, stop in kept for a in range(start, stop, TILE)]
    for start, stop in pieces:
        kernel.own_similarity(first[start:stop], second[start:stop], own[start:stop])
        leave_to_disk(first)
        leave_to_disk(second)
    if options.absolute_margin is not None:
        margins = np.minimum(margins, own - options.absolute_margin)
    if options.relative_margin is not None:
        margins = np.minimum(margins, (1 - options.relative_margin) * own)
    return margins


def _forecast(plan: Plan, engine: Engine, blocks: ListBlocks) -> str:
    if not plan.pool:
        return "nothing to compare"
    seconds = engine.seconds_per_pair(plan.pool) * blocks.pairs()
    return f"about {SEARCH_TO_PRODUCTS * seconds:.0f} s"
