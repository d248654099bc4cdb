"""Loading batches of rows at random from tars behind a URL, against the same tars on disk.

    python -m benchmarks.remote_shards --out benchmarks/results/remote_shards.json

A web server on this machine answers each request after 50 ms, and one of a hundred fails
(``slow_server.py``). Two workers load, decode and transform. The runs from disk, from the server,
and from the server without reading ahead take turns. The server shares the machine's processors
with the workers; its processor time is in the results.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.data import make_pictures
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
    from hardpairs.data.samples import open_samples
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


def rate(source: str, size: int, batches: int, workers: int, *, ahead: bool = True) -> float:
    """Samples per second after the first batches; no image may be replaced."""
    start = count = 0.0
    for number, batch in enumerate(load(source, size, batches, workers, ahead)):
        assert not batch.info.unreadable
        count += size
        if number + 1 == WARM:
            start, count = time.perf_counter(), 0.0
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--failing", type=float, default=0.01, help="share of the requests")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    results: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.remote_shards", *sys.argv[1:]]),
        "machine": describe_machine(),
        "pictures": args.pictures,
        "workers": args.workers,
        "latency_seconds": args.latency,
        "failing_share": args.failing,
        "by_batch_size": {},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        make_pictures(folder, args.pictures)
        tars = sorted(path.name for path in (folder / "tars").iterdir())
        results["picture_bytes"] = (
            sum(path.stat().st_size for path in (folder / "loose").iterdir()) / args.pictures
        )
        last = tars[-1].removesuffix(".tar")
        for size in args.batch_size:
            with slow_server(folder / "tars", latency=args.latency, failing=args.failing) as url:
                remote = f"{url}/{{00000..{last}}}.tar"
                results["by_batch_size"][size] = compare(
                    str(folder / "tars"), remote, url, size, args
                )
            write_json(args.out, results)
            print(size, results["by_batch_size"][size], file=sys.stderr, flush=True)


def compare(
    local: str, remote: str, url: str, size: int, args: argparse.Namespace
) -> dict[str, Any]:
    """Rates of the three ways in turn, and what the server did meanwhile."""
    batches = args.pictures // size - 1
    rate(remote, size, WARM + 2, args.workers)  # the indexes are made, and the files are in memory
    rates: dict[str, list[float]] = {"local": [], "remote": [], "remote, none ahead": []}
    before, wall = counts_of(url), 0.0
    for number in range(args.rounds):
        for way in ("local", "remote") if number % 2 == 0 else ("remote", "local"):
            start = time.perf_counter()
            rates[way].append(rate({"local": local}.get(way, remote), size, batches, args.workers))
            wall += (time.perf_counter() - start) * (way == "remote")
    after = counts_of(url)
    few = max(WARM + 2, 512 // size)
    rates["remote, none ahead"].append(rate(remote, size, few, args.workers, ahead=False))
    pairs = zip(rates["remote"], rates["local"], strict=True)
    ratios = [remote_rate / local_rate for remote_rate, local_rate in pairs]
    return {
        "samples_per_second": rates,
        "remote_to_local": statistics.median(ratios),
        "remote_to_local_rounds": ratios,
        "server": {key: after[key] - before.get(key, 0) for key in after},
        "server_processor_share": (after["processor_seconds"] - before["processor_seconds"]) / wall,
    }


if __name__ == "__main__":
    main()
