"""Planning an epoch of 400 million rows: memory that each rank has for itself, and time of a batch.

    python -m benchmarks.epoch --out benchmarks/results/epoch.json

Each figure is of a process of its own. Private memory is what it adds to that of all others
(``Anonymous``); pages of mapped files are shared and given back, and do not count. Files of 400
million rows are made of holes, with numbers where the timed batches look. Needs 8 GB of memory and
8 GB of disk, most of them for the batch makers that put a whole epoch in order at once.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.data import PeakAnonymous, memory
from benchmarks.machine import describe_machine
from hardpairs.core.atomic import write_json

DEPTH, STEPS = 50, 6
BY_NUMBER = ("random", "hard-pairs", "neighbourhood")
IN_ORDER = ("topical", "m-per-class")
PER_CLASS, CLUSTERS = 5, 80
STRIDE = 1_000_003
"""A prime: rows in steps of it, modulo their number, are an order of all rows."""


def in_processes(function: Callable[..., Any], *arguments: Any, count: int = 1) -> list[Any]:
    """Results of a function in new processes at once, whose number comes last."""
    with ExitStack() as stack:
        spawn = get_context("spawn")
        pools = [stack.enter_context(ProcessPoolExecutor(1, spawn)) for _ in range(count)]
        begun = [pool.submit(function, *arguments, rank) for rank, pool in enumerate(pools)]
        return [each.result() for each in begun]


# Batch makers.


def make_inputs(folder: Path, rows: int) -> None:
    """A table of hard pairs, whose lists are holes, and an order of all rows, as files."""
    np.lib.format.open_memmap(folder / "lengths.npy", "w+", np.int32, (rows,))[:] = DEPTH
    np.lib.format.open_memmap(folder / "indices.npy", "w+", np.int32, (rows, DEPTH))
    order = np.lib.format.open_memmap(folder / "order.npy", "w+", np.int32, (rows,))
    for first in range(0, rows, 1 << 22):
        order[first : first + (1 << 22)] = (
            np.arange(first, min(first + (1 << 22), rows)) * STRIDE % rows
        )


def fill_lists(folder: Path, rows: int, global_batch: int) -> None:
    """Give random hard pairs to the targets of the batches that are timed."""
    from hardpairs.batches.base import targets_of_step
    from hardpairs.batches.rows import RowSet

    rng = np.random.default_rng(0)
    lists, targets = np.load(folder / "indices.npy", mmap_mode="r+"), global_batch // 2
    for step in steps_of(rows, targets):
        some = targets_of_step(RowSet(rows), step, targets, 0, 0)
        lists[some] = rng.integers(0, rows, (targets, DEPTH), dtype=np.int32)


def make_orders(folder: Path, rows: int) -> None:
    """Labels and clusters, which the makers follow from that put a whole epoch in order."""
    rng = np.random.default_rng(0)
    np.save(folder / "labels.npy", rng.integers(0, rows // PER_CLASS, rows, dtype=np.int64))
    np.save(folder / "clusters.npy", rng.integers(0, CLUSTERS, rows, dtype=np.int32))


def steps_of(rows: int, targets: int) -> list[int]:
    """Numbers of the global batches that are timed, spread over the epoch."""
    last = rows // targets - 1
    return sorted({last * i // (STEPS - 1) for i in range(STEPS)})


def sampler_of(maker: str, folder: Path, rows: int, sizes: dict[str, int]) -> Any:
    from hardpairs import batches

    def mapped(name: str) -> np.ndarray:
        return np.load(folder / f"{name}.npy", mmap_mode="r")

    if maker == "random":
        return batches.RandomBatchSampler(rows, **sizes)
    if maker == "hard-pairs":
        table: Any = SimpleNamespace(indices=mapped("indices"), lengths=mapped("lengths"))
        return batches.HardPairBatchSampler(rows, table, **sizes)
    if maker == "neighbourhood":
        return batches.NeighborhoodBatchSampler(rows, lambda: mapped("order"), **sizes)
    if maker == "topical":
        return batches.TopicalBatchSampler(rows, mapped("clusters"), **sizes)
    return batches.MPerClassBatchSampler(rows, mapped("labels"), **sizes)


def plan(
    maker: str, folder: Path, rows: int, global_batch: int, world: int, timed: bool, rank: int
) -> dict[str, float]:
    """Memory and times of one rank: its batch maker, its first batch and, if asked, others."""
    sizes = {"batch_size": global_batch // world, "rank": rank, "world_size": world}
    with PeakAnonymous() as peak:
        start = time.perf_counter()
        sampler = sampler_of(maker, folder, rows, sizes)
        if maker == "hard-pairs":
            assert sampler.with_hard_pairs == rows  # a run logs it
        sampler.plan(0)
        first = time.perf_counter() - start
        kept = memory("Anonymous") - peak._start
        times = [0.0]
        for _ in range(2 * timed):  # the first time brings files into memory
            times = []
            for number in steps_of(rows, sampler.targets_per_batch)[1:]:
                start = time.thread_time()  # other work on the machine does not count
                sampler.plan(number)
                times.append(1000 * (time.thread_time() - start))
    return {
        "first_batch_seconds": first,
        "batch_processor_milliseconds": statistics.median(times),
        "kept_megabytes": kept,
        "peak_megabytes": peak.added,
    }


def plans(
    maker: str, folder: Path, rows: int, global_batches: list[int], world: int
) -> dict[str, Any]:
    """Figures of a maker: one process for the times, and all ranks together for the memory."""
    figures: dict[str, Any] = {"batch_processor_milliseconds": {}}
    for size in global_batches:
        (alone,) = in_processes(plan, maker, folder, rows, size, world, True)
        milliseconds = alone.pop("batch_processor_milliseconds")
        figures["batch_processor_milliseconds"][size] = milliseconds
    together = in_processes(
        plan, maker, folder, rows, max(global_batches), world, False, count=world
    )
    return {
        **figures,
        "all_ranks_kept_megabytes": sum(each["kept_megabytes"] for each in together),
        "all_ranks_peak_megabytes": sum(each["peak_megabytes"] for each in together),
        "first_batch_seconds": alone["first_batch_seconds"],
    }


# Rows of the data.


def make_tars(folder: Path, rows: int, per_tar: int = 10_000) -> None:
    """Tars of samples with captions and JSON as img2dataset writes it; the images are empty."""
    folder.mkdir()
    for first in range(0, rows, per_tar):
        with tarfile.open(folder / f"{first // per_tar:05d}.tar", "w") as tar:
            for row in range(first, min(first + per_tar, rows)):
                caption = f"a caption of usual length, which is some sixty letters, {row}"
                url = f"https://images.example/{row // 97:06d}/{row:012d}/photograph.jpg"
                for suffix, text in (
                    ("jpg", "x"),
                    ("txt", caption),
                    ("json", f'{{"url": "{url}"}}'),
                ):
                    member = tarfile.TarInfo(f"{row:09d}.{suffix}")
                    member.size = len(text)
                    tar.addfile(member, io.BytesIO(text.encode()))


def open_rows(source: str, rank: int) -> dict[str, float]:
    """Memory and time of opening rows as a training run does, and of looking at some."""
    from hardpairs.data.opening import open_samples

    with PeakAnonymous() as peak:
        start = time.perf_counter()
        samples = open_samples(source)
        assert samples.fingerprint and len(samples.rejected) == 0
        some = np.random.default_rng(rank).integers(0, len(samples), 1000)
        for row in some.tolist():
            samples.caption(row)
        samples.positives_of(some)
        seconds = time.perf_counter() - start
        kept = memory("Anonymous") - peak._start
    return {
        "rows": len(samples),
        "seconds": seconds,
        "kept_megabytes": kept,
        "peak_megabytes": peak.added,
        "kept_bytes_per_row": 1e6 * kept / len(samples),
    }


def make_hollow(folder: Path, rows: int) -> None:
    """Stored rows whose files are holes: their captions are empty, and all of one tar."""
    from hardpairs.data.manifest import write_manifest
    from hardpairs.data.stored_rows import COLUMNS, KIND, TEXTS, file_of

    folder.mkdir()
    for name, dtype in COLUMNS.items():
        is_text = name.removesuffix("_data") in TEXTS
        count = (
            0
            if is_text or name.startswith("rejected")
            else rows + name.endswith("_offsets") * (name.removesuffix("_offsets") in TEXTS)
        )
        with open(folder / file_of(name), "wb") as file:
            file.truncate(count * np.dtype(dtype).itemsize)
    content = {"kind": KIND, "tars": [], "states": {}, "suffixes": [], "has_groups": False}
    write_manifest(folder, {**content, "dataset_fingerprint": "0" * 64})


def benchmark_rows(real: int, hollow: int, world: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        return rows_in(Path(name), real, hollow, world)


def rows_in(folder: Path, real: int, hollow: int, world: int) -> dict[str, Any]:
    from hardpairs.data.stored_rows import store_rows

    make_tars(folder / "tars", real)
    start = time.perf_counter()
    store_rows(str(folder / "tars"), folder / "stored")
    seconds = time.perf_counter() - start
    make_hollow(folder / "hollow", hollow)
    together = in_processes(open_rows, str(folder / "hollow"), count=world)
    figures = {
        "tars": in_processes(open_rows, str(folder / "tars"))[0],
        "stored": in_processes(open_rows, str(folder / "stored"))[0],
        "storing_seconds": seconds,
        "stored_bytes_per_row": sum(path.stat().st_size for path in (folder / "stored").iterdir())
        / real,
        "stored, hollow": together[0],
        "stored, hollow, all_ranks_kept_megabytes": sum(
            each["kept_megabytes"] for each in together
        ),
    }
    print(figures, file=sys.stderr, flush=True)
    return figures


def benchmark_by_number(rows: int, global_batches: list[int], world: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder, found = Path(name), {}
        make_inputs(folder, rows)
        for size in global_batches:
            fill_lists(folder, rows, size)
        for maker in BY_NUMBER:
            found[maker] = plans(maker, folder, rows, global_batches, world)
            print(maker, found[maker], file=sys.stderr, flush=True)
        return {"rows": rows, **found}


def benchmark_in_order(all_rows: list[int], world: int) -> dict[str, Any]:
    found = {}
    for rows in all_rows:
        with tempfile.TemporaryDirectory() as name:
            make_orders(Path(name), rows)
            for maker in IN_ORDER:
                (figures,) = in_processes(plan, maker, Path(name), rows, 4096, world, True)
                found[f"{maker}, {rows:,} rows, global batch 4,096"] = figures
                print(maker, rows, figures, file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rows", type=int, default=400_000_000, help="rows of files with holes")
    add("--real-rows", type=int, default=200_000, help="rows of tars")
    add("--ordered-rows", type=int, nargs="+", default=[4_000_000, 20_000_000])
    add("--global-batch", type=int, nargs="+", default=[512, 4096, 32_768])
    add("--world-size", type=int, default=8)
    add("--only", choices=("rows", "by_number", "in_order"), nargs="+", help="the others stay")
    add("--out", type=Path, required=True)
    args = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "rows": lambda: benchmark_rows(args.real_rows, args.rows, args.world_size),
        "by_number": lambda: benchmark_by_number(args.rows, args.global_batch, args.world_size),
        "in_order": lambda: benchmark_in_order(args.ordered_rows, args.world_size),
    }
    record = json.loads(args.out.read_text()) if args.only and args.out.exists() else {}
    for part in args.only or parts:
        record[part] = {
            "command": " ".join(["python -m benchmarks.epoch", *sys.argv[1:]]),
            "machine": describe_machine(),
            "ranks": args.world_size,
            "result": parts[part](),
        }
        write_json(args.out, record)


if __name__ == "__main__":
    main()
