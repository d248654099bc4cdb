"""The data path: opening a table, planning an epoch, reading tars at random, hard-pair batches in
the loop, coverage; HELIP's way beside.

    python -m benchmarks.data --out benchmarks/results/data.json

HELIP's loader and sampler are written anew here from the description of their behaviour (a CSV
through pandas into a dict of lists; each rank shuffles with its own seed and takes every
world-size-th place). Needs about 5 GB of memory and 2 GB of disk at the default sizes.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe_machine
from hardpairs.core.atomic import write_json
from hardpairs.data.hard_pairs import HardPairTable, write_table

ROOT = Path(__file__).resolve().parent.parent
DEPTH = 50
MEGABYTE = 1e6


# Memory of a process, from the kernel.


def memory(kind: str) -> float:
    """Megabytes of this process now: ``Rss``, ``Pss`` (shared pages divided among their users),
    ``Anonymous``.
    """
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * 1024 / MEGABYTE
    raise KeyError(kind)


class PeakAnonymous:
    """Megabytes of anonymous memory that a block added at most, looked at every five milliseconds."""

    def __enter__(self) -> PeakAnonymous:
        self._start = self._most = memory("Anonymous")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self._most = max(self._most, memory("Anonymous"))

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()
        self.added = max(self._most, memory("Anonymous")) - self._start


# 1. Opening a table.


def make_table(folder: Path, rows: int) -> Path:
    """A table of random partners, and HELIP's CSV of it."""
    rng = np.random.default_rng(0)
    steps = rng.integers(1, rows // DEPTH, (rows, DEPTH)).cumsum(
        axis=1
    )  # distinct, and never the row itself
    indices = (np.arange(rows)[:, None] + steps) % rows
    scores = np.sort(rng.random((rows, DEPTH), np.float32))[:, ::-1]
    write_table(folder / "t_hard_pairs", indices, scores, {"dataset_fingerprint": "0" * 64})
    import pandas

    pandas.DataFrame(np.column_stack([np.arange(rows), indices])).to_csv(
        folder / "t.csv", header=False, index=False
    )
    return folder


def open_as_helip(folder: str) -> dict[str, float]:
    """pandas into a dict of lists, as HELIP's loader does in each process."""
    import pandas

    before, start = memory("Pss"), time.perf_counter()
    table = pandas.read_csv(f"{folder}/t.csv", header=None)
    pairs = {int(row[0]): row[1:].tolist() for row in table.to_numpy()}
    seconds = time.perf_counter() - start
    del table
    return {"seconds": seconds, "megabytes": memory("Pss") - before, "rows": len(pairs)}


def open_as_ours(folder: str, processes: int = 1) -> dict[str, float]:
    before, start = memory("Pss"), time.perf_counter()
    table = HardPairTable.open(f"{folder}/t_hard_pairs")
    seconds = time.perf_counter() - start
    opened = memory("Pss") - before
    checksum = int(
        np.asarray(table.indices).sum(dtype=np.int64) + np.asarray(table.lengths).sum()
    )  # touches each page
    print("touched", flush=True)
    if processes > 1:
        sys.stdin.readline()  # all processes have touched all of it
    return {
        "seconds": seconds,
        "megabytes": opened,
        "pss_after_all_pages": memory("Pss") - before,
        "checksum": checksum,
    }


def benchmark_open(folder: Path, rows: int) -> dict[str, Any]:
    make_table(folder, rows)
    helip = child("open_as_helip", str(folder))
    ours = [child("open_as_ours", str(folder)) for _ in range(5)]
    together = children_together("open_as_ours", str(folder), count=8)
    table_megabytes = rows * (DEPTH + 1) * 4 / MEGABYTE
    seconds = statistics.median(run["seconds"] for run in ours)
    # What one process has of the table when eight read all of it; Pss gives each an eighth of what
    # they share.
    share = statistics.mean(run["pss_after_all_pages"] for run in together)
    return {
        "rows": rows,
        "helip_seconds": helip["seconds"],
        "ours_seconds": seconds,
        "times_faster": helip["seconds"] / seconds,
        "helip_megabytes": helip["megabytes"],
        "ours_megabytes": statistics.median(run["megabytes"] for run in ours),
        "ours_megabytes_all_pages_read_one_process": statistics.median(
            run["pss_after_all_pages"] for run in ours
        ),
        "ours_megabytes_all_pages_read_each_of_eight": share,
        "table_megabytes": table_megabytes,
        "helip_to_ours_memory_each_of_eight": helip["megabytes"] / share,
    }


# 2. Planning.


def plan(rows: int, batch_size: int, maker: str) -> dict[str, float]:
    """Times of single batches by number, and of all batches of an epoch."""
    from types import SimpleNamespace

    from hardpairs.batches import (
        HardPairBatchSampler,
        MPerClassBatchSampler,
        NeighborhoodBatchSampler,
        RandomBatchSampler,
        TopicalBatchSampler,
    )

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 80 if maker == "topical" else rows // 5, rows)
    table = SimpleNamespace(
        indices=rng.integers(0, rows, (rows, DEPTH), dtype=np.int32)
        if maker == "hard-pairs"
        else None,
        lengths=np.full(rows, DEPTH, np.int32),
    )
    line = rng.permutation(rows).astype(np.int32) if maker == "neighbourhood" else None
    make = {
        "random": lambda: RandomBatchSampler(rows, batch_size=batch_size),
        "hard-pairs": lambda: HardPairBatchSampler(rows, table, batch_size=batch_size),
        "topical": lambda: TopicalBatchSampler(rows, labels, batch_size=batch_size),
        "m-per-class": lambda: MPerClassBatchSampler(rows, labels, batch_size=batch_size),
        "neighbourhood": lambda: NeighborhoodBatchSampler(
            rows, lambda: line, size=4, batch_size=batch_size
        ),
    }[maker]
    with PeakAnonymous() as peak:
        start = time.perf_counter()
        sampler = make()
        sampler.plan(0)
        first = time.perf_counter() - start
        times = []
        for number in range(len(sampler)):
            start = time.perf_counter()
            sampler.plan(number * 7919 % len(sampler))  # in no order
            times.append(time.perf_counter() - start)
    return {
        "first_batch_seconds": first,
        "batch_milliseconds_median": 1000 * statistics.median(times),
        "batch_milliseconds_99": 1000 * float(np.quantile(times, 0.99)),
        "all_batches_of_an_epoch_seconds": sum(times),
        "batches": len(sampler),
        "peak_megabytes": peak.added,
    }


def benchmark_plan(rows: int) -> dict[str, Any]:
    makers = ("random", "hard-pairs", "topical", "m-per-class", "neighbourhood")
    found: dict[str, Any] = {
        f"{maker}, batch 420": child("plan", rows, 420, maker) for maker in makers
    }
    found["hard-pairs, batch 3360"] = child("plan", rows, 3360, "hard-pairs")
    return {"rows": rows, **found}


# 3. Reading.


def make_pictures(folder: Path, count: int) -> None:
    """Smooth random pictures as loose files with a CSV, and the same ones in tars."""
    from PIL import Image

    rng = np.random.default_rng(0)
    (folder / "loose").mkdir(parents=True)
    (folder / "tars").mkdir()
    rows, per_tar = [], 1000
    for start in range(0, count, per_tar):
        with tarfile.open(folder / f"tars/{start // per_tar:05d}.tar", "w") as tar:
            for i in range(start, min(start + per_tar, count)):
                buffer = io.BytesIO()
                small = Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8))
                small.resize((320, 256), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=92)
                path = folder / f"loose/{i:09d}.jpg"
                path.write_bytes(buffer.getvalue())
                rows.append((str(path), f"picture {i}"))
                for extension, data in (
                    ("jpg", buffer.getvalue()),
                    ("txt", f"picture {i}".encode()),
                ):
                    info = tarfile.TarInfo(f"{i:09d}.{extension}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    with open(folder / "loose.csv", "w", newline="") as file:
        csv.writer(file).writerows([("filepath", "title"), *rows])


def bytes_per_second(samples: Any, order: np.ndarray) -> float:
    """Pictures per second, bytes only."""
    start = time.perf_counter()
    for row in order.tolist():
        samples.image_bytes(row)
    return len(order) / (time.perf_counter() - start)


def loaded_per_second(batches: Iterator[Any], size: int) -> float:
    """Pictures per second through a loader, from its third batch on."""
    count, start = 0, 0.0
    for number, _ in enumerate(batches):
        if number == 2:
            count, start = 0, time.perf_counter()
        count += size
    return (count - size) / (time.perf_counter() - start)


def our_loader(
    source: str, transform: Callable, tokenizer: Callable, size: int, workers: int
) -> Iterator[Any]:
    from torch.utils.data import DataLoader

    from hardpairs.batches import RandomBatchSampler
    from hardpairs.data.opening import open_samples
    from hardpairs.training.dataset import PlannedDataset, RunBatches

    samples = open_samples(source)
    sampler = RandomBatchSampler(len(samples), batch_size=size)
    dataset = PlannedDataset(samples, transform, tokenizer)
    return iter(
        DataLoader(
            dataset,
            batch_sampler=RunBatches(sampler, len(sampler) - 1),
            num_workers=workers,
            collate_fn=lambda batch: batch,
        )
    )


def webdataset_loader(
    tars: str, transform: Callable, tokenizer: Callable, size: int, workers: int
) -> Iterator[Any]:
    """Sequential, without shuffling; only the members that are needed are decoded."""
    import webdataset
    from torch.utils.data import DataLoader

    dataset = webdataset.DataPipeline(
        webdataset.SimpleShardList(sorted(str(path) for path in Path(tars).glob("*.tar"))),
        webdataset.split_by_worker,
        webdataset.tarfile_to_samples(),
        webdataset.decode("pilrgb"),
        webdataset.to_tuple("jpg", "txt"),
        webdataset.map_tuple(transform, lambda text: tokenizer([text])[0]),
        webdataset.batched(size, partial=False),
    )
    return iter(DataLoader(dataset, batch_size=None, num_workers=workers))


def benchmark_read(folder: Path, count: int, rounds: int = 5) -> dict[str, Any]:
    import open_clip
    import torch

    from hardpairs.data.opening import open_samples

    torch.set_num_threads(1)
    make_pictures(folder, count)
    loose, tars = open_samples(folder / "loose.csv"), open_samples(folder / "tars")
    order = np.random.default_rng(0).permutation(count)
    for samples in (loose, tars):
        bytes_per_second(samples, order)  # warms the cache
    raw = [(bytes_per_second(tars, order), bytes_per_second(loose, order)) for _ in range(rounds)]
    transform, tokenizer = (
        open_clip.image_transform(224, is_train=False),
        open_clip.get_tokenizer("ViT-B-32"),
    )
    loaders = {
        "tars at random": lambda: our_loader(str(folder / "tars"), transform, tokenizer, 32, 2),
        "loose at random": lambda: our_loader(
            str(folder / "loose.csv"), transform, tokenizer, 32, 2
        ),
        "webdataset in sequence": lambda: webdataset_loader(
            str(folder / "tars"), transform, tokenizer, 32, 2
        ),
    }
    names = list(loaders)
    rates: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            rates[name].append(loaded_per_second(loaders[name](), 32))
    return {
        "pictures": count,
        "bytes_only_tars_per_second": statistics.median(tar for tar, _ in raw),
        "bytes_only_loose_per_second": statistics.median(file for _, file in raw),
        "bytes_only_tars_to_loose": statistics.median(tar / file for tar, file in raw),
        "decoded_per_second": {name: statistics.median(found) for name, found in rates.items()},
        "decoded_tars_to_loose": _ratio(rates["tars at random"], rates["loose at random"]),
        "decoded_tars_to_webdataset": _ratio(
            rates["tars at random"], rates["webdataset in sequence"]
        ),
        "decoded_per_second_rounds": rates,
    }


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


# 4. The loop.


def benchmark_loop(folder: Path, pictures: Path, rounds: int, steps: int) -> dict[str, Any]:
    """samples/s of the median training step, hard-pair batches against plain ones, runs in turn."""
    from hardpairs.data.opening import open_samples

    samples = open_samples(pictures / "loose.csv")
    rng = np.random.default_rng(0)
    move = rng.integers(1, len(samples) // DEPTH, (len(samples), DEPTH)).cumsum(axis=1)
    indices = (np.arange(len(samples))[:, None] + move) % len(samples)
    table = folder / "loop_hard_pairs"
    write_table(
        table,
        indices,
        np.full(indices.shape, 0.5, np.float32),
        {"dataset_fingerprint": samples.fingerprint},
    )
    flags = {
        "plain": ("--batching", "random"),
        "hard": ("--use-hard", "--hard-dict-dir", str(table)),
    }
    rates: dict[str, list[float]] = {name: [] for name in flags}
    for number in range(rounds):
        for name in flags if number % 2 == 0 else reversed(flags):
            rates[name].append(
                _training_rate(folder, pictures, f"{name}{number}", flags[name], steps)
            )
    return {
        "batch_size": 32,
        "steps": steps,
        "samples_per_second": rates,
        "hard_to_plain": _ratio(rates["hard"], rates["plain"]),
    }


def _training_rate(
    folder: Path, pictures: Path, name: str, flags: tuple[str, ...], steps: int
) -> float:
    command = (
        *(
            sys.executable,
            "-m",
            "training.main",
            "--train-data",
            str(pictures / "loose.csv"),
            "--csv-separator",
            ",",
            "--model",
            "hardpairs-small",
        ),
        *(
            "--device",
            "cpu",
            "--precision",
            "fp32",
            "--workers",
            "1",
            "--batch-size",
            "32",
            "--max-steps",
            str(steps),
        ),
        *(
            "--log-every-n-steps",
            "1",
            "--warmup",
            "1",
            "--save-frequency",
            "0",
            "--logs",
            str(folder / "logs"),
            "--name",
            name,
            *flags,
        ),
    )
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    with open(folder / f"logs/{name}/metrics.csv") as file:
        seconds = [float(row["batch_time"]) for row in csv.DictReader(file)]
    return 32 / statistics.median(seconds[3:])


# 5. Coverage.


def helip_targets(count: int, rank: int, world_size: int, seed: int) -> list[int]:
    """HELIP's share of a rank: shuffled with the rank's own seed, then every world-size-th place."""
    order = list(range(count))
    random.Random(seed + rank).shuffle(order)
    return order[rank::world_size]


def benchmark_coverage(count: int) -> dict[str, Any]:
    """Share of rows that are a target at least once in an epoch, by world size; HELIP with one
    process takes no hard pairs at all.
    """
    from types import SimpleNamespace

    from hardpairs.batches import TARGET, HardPairBatchSampler

    rng = np.random.default_rng(0)
    table = SimpleNamespace(
        indices=rng.integers(0, count, (count, DEPTH), dtype=np.int32),
        lengths=np.full(count, DEPTH, np.int32),
    )
    found = {}
    for world in range(1, 9):
        theirs = (
            len(set().union(*(helip_targets(count, rank, world, 0) for rank in range(world))))
            / count
        )
        seen: set[int] = set()
        for rank in range(world):
            sampler = HardPairBatchSampler(count, table, batch_size=64, rank=rank, world_size=world)
            for number in range(len(sampler)):
                plan = sampler.plan(number)
                seen.update(plan.rows[plan.roles == TARGET].tolist())
        found[str(world)] = {"helip": theirs, "ours": len(seen) / count}
    return {"rows": count, "share_of_rows_that_are_a_target": found}


# Children: each measurement of memory in a process of its own.


def child(function: str, *arguments: Any) -> dict[str, float]:
    return children_together(function, *arguments, count=1)[0]


def children_together(function: str, *arguments: Any, count: int) -> list[dict[str, float]]:
    """Results of ``count`` processes; several wait for each other after ``touched``."""
    if count > 1:
        arguments = (*arguments, count)
    command = [sys.executable, "-m", "benchmarks.data", "--child", function, json.dumps(arguments)]
    running = [
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    if count > 1:
        for process in running:
            while process.stdout.readline().strip() != "touched":
                if process.poll() is not None:
                    sys.exit(f"{function} failed")
        for process in running:
            process.stdin.write("\n")
            process.stdin.flush()
    results = []
    for process in running:
        line = next((line for line in process.stdout if line.startswith("{")), None)
        if line is None:
            sys.exit(f"{function} failed")
        results.append(json.loads(line))
    for process in running:
        process.communicate("\n")
    return results


def table_text(results: dict[str, Any]) -> str:
    """What the numbers are worth, against the bounds that they were asked to keep."""
    lines = ["| what | measured | asked for |", "|---|---|---|"]
    if found := results.get("open"):
        lines += [
            f"| opening {found['rows']:,} x {DEPTH}, times faster than pandas to dict | {found['times_faster']:,.0f} | 200 |",
            f"| its memory to ours, each of eight processes that read all pages | {found['helip_to_ours_memory_each_of_eight']:.0f} | 20 |",
        ]
    for name, found in (results.get("plan") or {}).items():
        if isinstance(found, dict):
            lines += [
                f"| {name}: a batch by number, ms | {found['batch_milliseconds_median']:.2f} | 1 |",
                f"| {name}: first batch / all batches of an epoch, s | {found['first_batch_seconds']:.2f} / {found['all_batches_of_an_epoch_seconds']:.1f} | 5 |",
                f"| {name}: peak memory, MB | {found['peak_megabytes']:.0f} | 200 |",
            ]
    if found := results.get("read"):
        lines += [
            f"| random reads, tars to loose files, bytes only | {found['bytes_only_tars_to_loose']:.2f} | 0.95 |",
            f"| random reads, tars to loose files, decoded | {found['decoded_tars_to_loose']:.2f} | 0.95 |",
            f"| random reads of tars to webdataset in sequence, decoded, 2 workers | {found['decoded_tars_to_webdataset']:.2f} | 0.9 |",
        ]
    if found := results.get("loop"):
        lines += [
            f"| samples/s, hard-pair batches to plain | {found['hard_to_plain']:.3f} | 0.98 |"
        ]
    if found := results.get("coverage"):
        for world, shares in found["share_of_rows_that_are_a_target"].items():
            lines += [
                f"| coverage of an epoch, {world} ranks, ours (HELIP's) | {shares['ours']:.1%} ({shares['helip']:.1%}) | 100 % |"
            ]
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(globals()[sys.argv[2]](*json.loads(sys.argv[3]))), flush=True)
        # stays until all have measured: who leaves takes no part in the sharing any more
        sys.stdin.readline()
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only",
        choices=("open", "plan", "read", "loop", "coverage"),
        nargs="+",
        help="the other parts of --out stay",
    )
    parser.add_argument("--table-rows", type=int, default=1_000_000)
    parser.add_argument("--plan-rows", type=int, default=3_000_000)
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=8, help="pairs of training runs")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "open": lambda: benchmark_open(folder, args.table_rows),
            "plan": lambda: benchmark_plan(args.plan_rows),
            "read": lambda: benchmark_read(folder / "pictures", args.pictures),
            "loop": lambda: benchmark_loop(folder, folder / "pictures", args.rounds, args.steps),
            "coverage": lambda: benchmark_coverage(20_000),
        }
        record: dict[str, Any] = (
            json.loads(args.out.read_text()) if args.only and args.out.exists() else {}
        )
        for part in args.only or parts:
            if part == "loop" and not (folder / "pictures").exists():
                make_pictures(folder / "pictures", args.pictures)
            command = " ".join(["python -m benchmarks.data", *sys.argv[1:]])
            record[part] = {
                "command": command,
                "machine": describe_machine(),
                "result": parts[part](),
            }
            write_json(args.out, record)
            print(part, "done", file=sys.stderr, flush=True)
    print(table_text({part: measured["result"] for part, measured in record.items()}))


if __name__ == "__main__":
    main()
