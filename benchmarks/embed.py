"""Embedding against its own encoder: the share of its throughput that is left with decoding.

    python -m benchmarks.embed --pairs 512 --sides 256 512 --out benchmarks/results/embed.json
    python -m benchmarks.embed --pairs 20000 --device cuda --workers 12 --batch-size 512

Data: JPEGs of noise over gradients (about as large as photos) with captions, in tars. Per size of
image: pairs/s of the encoder alone, on one decoded batch; of loading and decoding alone; of the
whole command's work. Where decoding and encoding share the cores, the best possible time is that of
both together: 1 / (1 / encoder + 1 / loading). Memory: peak of a process that embeds N pairs, and
of one that embeds four times as many.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.machine import describe_machine
from hardpairs.core.atomic import write_json
from hardpairs.data.samples import Samples, open_samples
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


def encoder_alone(
    samples: Samples, encoders: Encoders, count: int, size: int, device: str
) -> float:
    """Pairs/s on one decoded batch."""
    batch = next(iter(load_batches(samples, encoders, batches(size, size), workers=0)))
    on_device = batch._replace(pixels=batch.pixels.to(device))
    encode_batch(encoders, on_device, device)  # warm
    start, rounds = time.perf_counter(), max(count // size, 1)
    for _ in range(rounds):
        encode_batch(encoders, on_device, device)
    return rounds * size / (time.perf_counter() - start)


def loading_alone(
    samples: Samples, encoders: Encoders, count: int, size: int, workers: int
) -> float:
    """Pairs/s, once the workers have started."""
    loaded = iter(load_batches(samples, encoders, batches(count, size), workers=workers))
    done = -len(next(loaded)[0])
    start = time.perf_counter()
    done += size + sum(len(batch[0]) for batch in loaded)
    return done / (time.perf_counter() - start)


def whole(
    samples: Samples, encoders: Encoders, out: Path, size: int, workers: int, device: str
) -> float:
    start = time.perf_counter()
    embed_to_folder(samples, encoders, out, batch_size=size, workers=workers, device=device)
    return len(samples) / (time.perf_counter() - start)


def compare(args: argparse.Namespace, side: int, folder: Path) -> dict:
    """Medians over turns, so that all three see the same machine."""
    samples = open_samples(str(make_shards(folder / f"{side}", args.pairs, side)))
    encoders = open_encoders(
        model=args.model, pretrained="none", device=args.device, captions=samples.captions
    )
    speeds: dict[str, list[float]] = {"encoder": [], "loading": [], "whole": []}
    for turn in range(args.repeats):
        speeds["encoder"].append(
            encoder_alone(samples, encoders, args.pairs, args.batch_size, args.device)
        )
        speeds["loading"].append(
            loading_alone(samples, encoders, args.pairs, args.batch_size, args.workers)
        )
        speeds["whole"].append(
            whole(
                samples,
                encoders,
                folder / f"{side}_{turn}",
                args.batch_size,
                args.workers,
                args.device,
            )
        )
    speed = {name: float(np.median(values)) for name, values in speeds.items()}
    both = 1 / speed["encoder"] + 1 / speed["loading"]
    row = {
        "side": side,
        "jpeg_kB": round(sum(len(samples.image_bytes(i)) for i in range(64)) / 64e3, 1),
        **{name: round(value, 1) for name, value in speed.items()},
        "of_encoder": round(speed["whole"] / speed["encoder"], 3),
        "of_shared_cores": round(speed["whole"] * both, 3),
        "share_decoding": round(1 / speed["loading"] / both, 3),
        "share_encoding": round(1 / speed["encoder"] / both, 3),
    }
    print(json.dumps(row), flush=True)
    return row


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
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument(
        "--sides", type=int, nargs="*", default=[256, 512], help="pixels of the images on disk"
    )
    parser.add_argument(
        "--model", default="ViT-B-32", help="OpenCLIP model; random weights are as fast as any"
    )
    parser.add_argument("--batch-size", type=int, default=64)
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
        "threads": torch.get_num_threads(),
    }
    with tempfile.TemporaryDirectory() as name:
        results["speed"] = [compare(args, side, Path(name)) for side in args.sides]
        if args.memory:
            results["memory"] = memory(args, Path(name))
    if args.out:
        write_json(args.out, results)


if __name__ == "__main__":
    main()
