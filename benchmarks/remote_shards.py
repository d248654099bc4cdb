"""Loading batches of rows at random from tars behind a URL, against the same tars on disk.

    python -m benchmarks.remote_shards --out benchmarks/results/remote_shards.json

A web server on this machine answers each request after 50 ms, and one of a hundred fails
(``slow_server.py``). Two workers load, decode and transform. Rounds from disk and from the server
take turns; from the server without reading ahead there is one short round. The server shares the
processors with the workers, so the workers' processor time for a sample is given, too.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.slow_server import counts_of, slow_server
from hardpairs.core.atomic import write_json

WARM = 4
"""Batches before the clock starts: the workers have been forked and have one behind them."""


def load(source: str, size: int, batches: int, workers: int, ahead: bool) -> Iterator[Any]:
    """The batches of a loader as a training run has it; without reading ahead, one request a row."""
    import open_clip
    from torch.utils.data import DataLoader

    from hardpairs.batches import RandomBatchSampler
    from hardpairs.data.opening import open_samples
    from hardpairs.training.dataset import PlannedDataset, RunBatches

    samples = open_samples(source, allow_remote=True)
    if not ahead:
        samples.read_ahead = lambda rows: None
    sampler = RandomBatchSampler(len(samples), batch_size=size)
    transform = open_clip.image_transform(224, is_train=False)
    dataset = PlannedDataset(samples, transform, open_clip.get_tokenizer("ViT-B-32"))
    return iter(
        DataLoader(
            dataset,
            batch_sampler=RunBatches(sampler, batches, workers),
            num_workers=workers,
            collate_fn=lambda batch: batch,
        )
    )


class Round(NamedTuple):
    """Samples per second after the first batches, and the workers' processor time for a sample."""

    samples_per_second: float
    worker_milliseconds: float


def measured(source: str, size: int, batches: int, workers: int, *, ahead: bool = True) -> Round:
    """Load some batches. No image may be replaced."""
    start, before = 0.0, _processor_seconds()
    loader = load(source, size, batches, workers, ahead)
    for number in range(batches):
        assert not next(loader).info.unreadable
        if number + 1 == WARM:
            start = time.perf_counter()
    seconds = time.perf_counter() - start
    assert next(loader, None) is None  # the workers have ended
    used = _processor_seconds() - before
    return Round((batches - WARM) * size / seconds, 1000 * used / (batches * size))


def _processor_seconds() -> float:
    """Return the processor time of this process' children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def make_tars(folder: Path, count: int, width: int) -> float:
    """Smooth random pictures in tars of 1,000; returns the mean size of a picture in bytes."""
    from PIL import Image

    rng, total = np.random.default_rng(0), 0
    folder.mkdir()
    for first in range(0, count, 1000):
        with tarfile.open(folder / f"{first // 1000:05d}.tar", "w") as tar:
            for i in range(first, min(first + 1000, count)):
                small = Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8))
                buffer = io.BytesIO()
                whole = small.resize((width, width * 4 // 5), Image.Resampling.BICUBIC)
                whole.save(buffer, "JPEG", quality=92)
                for suffix, data in (("jpg", buffer.getvalue()), ("txt", f"{i}".encode())):
                    member = tarfile.TarInfo(f"{i:09d}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                total += len(buffer.getvalue())
    return total / count


def compare(local: str, url: str, tars: int, args: argparse.Namespace) -> dict[str, Any]:
    """Figures of the three ways, and what the server did meanwhile."""
    remote = f"{url}/{{00000..{tars - 1:05d}}}.tar"
    sizes = (args.batch_size, args.batches, args.workers)
    for source in (local, remote):  # makes the indexes, and brings the files into memory
        measured(source, args.batch_size, WARM + 1, args.workers)
    rounds: dict[str, list[Round]] = {local: [], remote: []}
    before = counts_of(url)
    for number in range(args.rounds):
        for source in (local, remote) if number % 2 == 0 else (remote, local):
            rounds[source].append(measured(source, *sizes))
    after = counts_of(url)
    pairs = list(zip(rounds[remote], rounds[local], strict=True))
    speeds = [far.samples_per_second / near.samples_per_second for far, near in pairs]
    efforts = [near.worker_milliseconds / far.worker_milliseconds for far, near in pairs]
    few = measured(remote, args.batch_size, WARM + 2, args.workers, ahead=False)
    return {
        "remote_to_local": statistics.median(speeds),
        "remote_to_local_by_processor_time_of_workers": statistics.median(efforts),
        "none_ahead_samples_per_second": few.samples_per_second,
        "local": _medians(rounds[local]),
        "remote": _medians(rounds[remote]),
        "remote_to_local_rounds": speeds,
        "server": {key: after[key] - before.get(key, 0) for key in after},
    }


def _medians(rounds: list[Round]) -> dict[str, float]:
    return {name: statistics.median(getattr(r, name) for r in rounds) for name in Round._fields}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--pictures", type=int, default=3000)
    add("--widths", type=int, nargs="+", default=[320, 640], help="pixels of a picture")
    add("--batch-size", type=int, default=64)
    add("--batches", type=int, default=30, help="of a round")
    add("--workers", type=int, default=2)
    add("--latency", type=float, default=0.05, help="seconds")
    add("--failing", type=float, default=0.01, help="share of the requests")
    add("--rounds", type=int, default=6)
    add("--out", type=Path, required=True)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    results: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.remote_shards", *sys.argv[1:]]),
        "machine": describe_machine(),
        **{k: v for k, v in vars(args).items() if k not in ("out", "widths")},
    }
    for width in args.widths:
        with tempfile.TemporaryDirectory() as name:
            os.environ["XDG_CACHE_HOME"] = f"{name}/cache"
            tars = Path(name) / "tars"
            size = make_tars(tars, args.pictures, width)
            with slow_server(tars, latency=args.latency, failing=args.failing) as url:
                figures = compare(str(tars), url, len(list(tars.glob("*.tar"))), args)
        results[f"{width} x {width * 4 // 5} pixels"] = {"picture_bytes": size, **figures}
        write_json(args.out, results)
        print(width, figures, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
