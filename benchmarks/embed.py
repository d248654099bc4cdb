"""Embedding against its own encoder: the share of its throughput that is left with decoding.

    python -m benchmarks.embed --processes 1 2 --out benchmarks/results/embed.json
    python -m benchmarks.embed --pairs 20000 --device cuda --workers 12 --batch-size 512

Data: JPEGs of noise over gradients (about as large as photos) with captions, in tars. Per size of
image and number of processes, which share the cores: pairs/s of the encoder alone, on one decoded
batch, in as many processes; of loading and decoding alone; of the whole command's work, in which
the processes share parts by lease. Where decoding and encoding share the cores, the best possible
time is that of both together: 1 / (1 / encoder + 1 / loading). All are measured in turns. A part has
two batches, so that a short run has many, unless ``--part-rows`` says otherwise. Memory: peak of a process that embeds N pairs, and of one that embeds four times as many.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.machine import describe_machine
from hardpairs.core.atomic import write_json
from hardpairs.data.opening import open_samples
from hardpairs.data.samples import Samples
from hardpairs.embedding.embed import embed_to_folder
from hardpairs.embedding.stream import encode_batch, load_batches
from hardpairs.models.encoders import Encoders, open_encoders


def make_shards(folder: Path, count: int, side: int, per_shard: int = 1000) -> Path:
    """Write tars of ``count`` images of ``side`` pixels, the same 64 images again and again."""
    rng, images = np.random.default_rng(0), []
    for _ in range(64):
        smooth = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize(
            (side, side), Image.Resampling.BICUBIC
        )
        pixels = np.asarray(smooth, np.int16) + rng.normal(0, 12, (side, side, 3))
        buffer = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
        images.append(buffer.getvalue())
    folder.mkdir(parents=True)
    for shard in range(-(-count // per_shard)):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for i in range(shard * per_shard, min((shard + 1) * per_shard, count)):
                for extension, data in (
                    ("jpg", images[i % 64]),
                    ("txt", f"a photo of thing number {i} on a table".encode()),
                ):
                    info = tarfile.TarInfo(f"{i:09d}.{extension}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return folder


def batches(count: int, size: int) -> list[list[int]]:
    return [list(range(start, min(start + size, count))) for start in range(0, count, size)]


def encoder_alone(samples: Samples, encoders: Encoders, args: argparse.Namespace) -> Callable:
    """Encode one decoded batch again and again; return how many pairs."""
    size = args.batch_size
    batch = next(iter(load_batches(samples, encoders, batches(size, size), workers=0)))
    on_device = batch._replace(pixels=batch.pixels.to(args.device))
    encode_batch(encoders, on_device, args.device)  # warm
    rounds = max(args.encoded // size, 1)

    def run() -> int:
        for _ in range(rounds):
            encode_batch(encoders, on_device, args.device)
        return rounds * size

    return run


def loading_alone(samples: Samples, encoders: Encoders, args: argparse.Namespace) -> Callable:
    """Load and decode all pairs but the first batch, which comes when the workers have started."""
    todo = batches(len(samples), args.batch_size)
    loaded = iter(load_batches(samples, encoders, todo, workers=args.workers))
    next(loaded)
    return lambda: sum(len(batch.rows) for batch in loaded)


def whole(samples: Samples, encoders: Encoders, args: argparse.Namespace, out: str) -> Callable:
    """Embed into a folder, with the other processes; return the pairs of all of them."""

    def run() -> int:
        embed_to_folder(
            samples,
            encoders,
            out,
            batch_size=args.batch_size,
            workers=args.workers,
            device=args.device,
            part_rows=args.part_rows or 2 * args.batch_size,
            quiet=True,
        )
        return len(samples)

    return run


def serve(shards: str, args: argparse.Namespace, threads: int, connection: Any, ready: Any) -> None:
    """Measure what is asked for, in a process of its own."""
    torch.set_num_threads(threads)
    samples = open_samples(shards)
    encoders = open_encoders(
        model=args.model, pretrained="none", device=args.device, captions=samples.captions
    )
    kinds = {"encoder": encoder_alone, "loading": loading_alone, "whole": whole}
    while (asked := connection.recv()) is not None:
        kind, *more = asked
        run = kinds[kind](samples, encoders, args, *more)
        ready.wait()
        start = time.monotonic()
        pairs = run()
        connection.send((start, time.monotonic(), pairs))


class Processes:
    """Processes that share the cores and the loaders, and wait to be asked."""

    def __init__(self, count: int, shards: str, args: argparse.Namespace) -> None:
        context = multiprocessing.get_context("spawn")
        ready, self.connections = context.Barrier(count), []
        self.ready = ready  # a barrier that nobody has is gone before the processes have opened it
        own = argparse.Namespace(**{**vars(args), "workers": max(args.workers // count, 1)})
        self.threads = max(torch.get_num_threads() // count, 1)
        for _ in range(count):
            here, there = context.Pipe()
            arguments = (shards, own, self.threads, there, ready)
            context.Process(target=serve, args=arguments).start()
            self.connections.append(here)

    def measure(self, kind: str, *more: str) -> float:
        """Return pairs/s, from the first process that starts to the last one that ends."""
        for connection in self.connections:
            connection.send((kind, *more))
        starts, ends, pairs = zip(*(each.recv() for each in self.connections), strict=True)
        total = pairs[0] if kind == "whole" else sum(pairs)
        return total / (max(ends) - min(starts))

    def end(self) -> None:
        for connection in self.connections:
            connection.send(None)


def compare(args: argparse.Namespace, side: int, folder: Path) -> list[dict]:
    """Medians over turns, so that all see the same machine."""
    shards = str(make_shards(folder / f"{side}", args.pairs, side))
    samples = open_samples(shards)
    jpeg = round(sum(len(samples.image_bytes(i)) for i in range(64)) / 64e3, 1)
    groups = {count: Processes(count, shards, args) for count in args.processes}
    speeds: dict[int, dict[str, list[float]]] = {
        count: {"encoder": [], "loading": [], "whole": []} for count in groups
    }
    for turn in range(args.repeats):
        for count, group in groups.items():
            for kind, found in speeds[count].items():
                out = [str(folder / f"{side}_{count}_{turn}")] if kind == "whole" else []
                found.append(group.measure(kind, *out))
    rows = []
    for count, group in groups.items():
        group.end()
        facts = {"side": side, "jpeg_kB": jpeg, "processes": count, "threads_each": group.threads}
        rows.append(facts | shares(speeds[count]))
        print(json.dumps(rows[-1]), flush=True)
    return rows


def shares(speeds: dict[str, list[float]]) -> dict[str, float]:
    """Return medians, and the shares of what is possible, each of its own turn."""
    turns = {name: np.array(values) for name, values in speeds.items()}
    both = 1 / turns["encoder"] + 1 / turns["loading"]
    found = {
        "of_encoder": turns["whole"] / turns["encoder"],
        "of_shared_cores": turns["whole"] * both,
        "share_decoding": 1 / turns["loading"] / both,
    }
    medians = {name: round(float(np.median(values)), 1) for name, values in turns.items()}
    return medians | {name: round(float(np.median(values)), 3) for name, values in found.items()}


def memory(args: argparse.Namespace, folder: Path) -> list[dict]:
    """Peak memory of a process, with its loading in it, for two sizes."""
    rows = []
    for count in (args.memory, 4 * args.memory):
        shards = make_shards(folder / f"memory{count}", count, 32)
        line = [sys.executable, "-m", "benchmarks.embed", "--one", str(shards), "--device", "cpu"]
        done = subprocess.run(line, check=True, capture_output=True, text=True)
        rows.append({"pairs": count, "peak_MB": json.loads(done.stdout)})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def one(shards: Path) -> None:
    samples = open_samples(str(shards))
    encoders = open_encoders(model="hardpairs-test", pretrained="none", captions=samples.captions)
    with tempfile.TemporaryDirectory() as out:
        embed_to_folder(samples, encoders, out, workers=0, part_rows=1024)
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1024)
    parser.add_argument(
        "--encoded", type=int, default=256, help="pairs that the encoder alone encodes"
    )
    parser.add_argument("--processes", type=int, nargs="*", default=[1])
    parser.add_argument(
        "--sides", type=int, nargs="*", default=[256, 512], help="pixels of the images on disk"
    )
    parser.add_argument(
        "--model", default="ViT-B-32", help="OpenCLIP model; random weights are as fast as any"
    )
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--part-rows", type=int, help="rows of a part (default: two batches)")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--memory", type=int, help="also: peak memory at so many pairs, and at four times as many"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        return one(args.one)
    results = {
        "command": " ".join(["python -m benchmarks.embed", *sys.argv[1:]]),
        "machine": describe_machine(),
        "cores": torch.get_num_threads(),
    }
    with tempfile.TemporaryDirectory() as name:
        results["speed"] = [row for side in args.sides for row in compare(args, side, Path(name))]
        if args.memory:
            results["memory"] = memory(args, Path(name))
    if args.out:
        write_json(args.out, results)


if __name__ == "__main__":
    main()
