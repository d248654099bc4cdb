"""Exact hard pair mining on one GPU: seconds by stage, and rows checked against float64.

    python -m benchmarks.mining_gpu --pairs 2900000 --out benchmarks/results/mining_gpu.json
    python -m benchmarks.mining_gpu --device cpu --pairs 45312 --tile 256 --out /tmp/device.json

Data: N pairs of 384-d image and 768-d text embeddings made on the device, themed as in
``benchmarks.mining``, in no order. The search is timed as ``hardpairs.mining.api.search`` runs it,
from embeddings in the host's memory to finished lists there; compiled code is loaded before.
With ``--max-device-memory`` there is another search, in which rows for which the device has no room
wait on the host; ``copied`` counts how often each row went to the device.

``--device cpu`` runs the same engine with plain torch in place of the GPU. Its seconds say nothing
about a GPU, but the number of pairs that the device hands to the host, and the host's time for
them, hold for one. With the same N / ``--tile`` as on the GPU, the lists fill in as many steps.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import describe_machine
from hardpairs.core.atomic import write_json
from hardpairs.core.errors import byte_count
from hardpairs.mining import api, engine
from hardpairs.mining.api import Execution, search
from hardpairs.mining.engine import cuda
from hardpairs.mining.engine.cuda import CudaEngine
from hardpairs.mining.engine.device_rows import StreamedRows
from hardpairs.mining.list_blocks import ListBlocks
from hardpairs.mining.options import MiningOptions
from hardpairs.mining.plan import DEVICE_TILE
from hardpairs.mining.result import MiningResult, ResultBuilder

WIDTHS = (384, 768)
TOP_K = 50
DUPLICATE = 0.98
THEMES, TOPICS, PARTS = 40, 20, 10


def themed(count: int, device: str, seed: int = 0) -> list[np.ndarray]:
    """Make data like those of ``benchmarks.mining.themed`` on the device; float32 on the host."""
    generator = torch.Generator(device).manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, device=device)

    weights = (
        (normal(THEMES, 1, 1) + normal(THEMES, TOPICS, 1) + normal(THEMES, TOPICS, PARTS))
        .exp()
        .flatten()
    )
    ends = (weights.double().cumsum(0) / weights.double().sum()).clamp(max=1.0)
    leaf = torch.searchsorted(
        ends, torch.rand(count, generator=generator, device=device, dtype=torch.float64)
    ).clamp(max=len(ends) - 1)
    arrays = []
    for width in WIDTHS:
        spectrum = torch.arange(1, width + 1, device=device) ** -0.35
        spectrum /= spectrum.norm()
        theme, topic, part = (
            normal(n, width) * spectrum for n in (THEMES, THEMES * TOPICS, THEMES * TOPICS * PARTS)
        )
        rows = np.empty((count, width), np.float32)
        for start in range(0, count, 1 << 16):
            at = leaf[start : start + (1 << 16)]
            noise = normal(len(at), width) * spectrum
            made = (
                0.55 * theme[at // (TOPICS * PARTS)]
                + 0.45 * topic[at // PARTS]
                + 0.4 * part[at]
                + 0.6 * noise
            )
            rows[start : start + (1 << 16)] = made.cpu().numpy()
        arrays.append(rows)
    return arrays


class Stages:
    """Seconds and calls of named functions while a search runs."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.pairs = 0
        self.engine: CudaEngine | None = None

    def timed(self, name: str, function: Callable) -> Callable:
        def call(*arguments, **options):
            start = time.perf_counter()
            try:
                result = function(*arguments, **options)
            finally:
                self.seconds[name] += time.perf_counter() - start
                self.calls[name] += 1
            if name == "upload":
                self.engine = result
            if name == "fetch pairs":
                self.pairs += len(result.slots)
            return result

        return call

    def watch(self) -> None:
        """Time the stages of a search, and what the host does meanwhile."""
        for module, attribute, name in (
            (api, "make_unit_vectors", "unit vectors"),
            (api, "open_engine", "upload"),
            (ListBlocks, "fill", "fill"),
            (ListBlocks, "_decide", "decide"),
            (ResultBuilder, "add", "assemble"),
            (cuda, "run_ranges", "offer pairs"),
            (CudaEngine, "_fetch", "fetch pairs"),
            (CudaEngine, "_receive", "receive"),
            (CudaEngine, "_send", "send"),
        ):
            setattr(module, attribute, self.timed(name, getattr(module, attribute)))


def ceilings(device: str) -> dict[str, float]:
    """Return the speed of 8192 x 8192 products and of a copy on the device; nothing for a CPU."""
    if device == "cpu":
        return {}
    speeds = {}
    for name, dtype in (("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        left, right = (torch.randn(8192, 8192, device="cuda", dtype=dtype) for _ in range(2))
        out = torch.empty_like(left)
        speeds[f"{name}_tflops"] = (
            2
            * 8192**3
            / device_seconds(lambda a=left, b=right, o=out: torch.mm(a, b.T, out=o))
            / 1e12
        )
    source = torch.randn(1 << 30, device="cuda")
    target = torch.empty_like(source)
    speeds["copy_terabytes_per_second"] = (
        2 * source.nbytes / device_seconds(lambda: target.copy_(source)) / 1e12
    )
    return speeds


def device_seconds(work: Callable[[], object], repeats: int = 20) -> float:
    """Return the median over repeats, by the device's clock; on a CPU, of one."""
    if not torch.cuda.is_available():
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    times = []
    for number in range(repeats + 3):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        end.synchronize()
        if number >= 3:
            times.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(times)


def of_one_tile(engine: CudaEngine, count: int) -> dict[str, float]:
    """Return the device seconds of one tile of two far ranges, with the final thresholds."""
    side = min(engine.products.block, count // 2)
    rows, columns = slice(0, side), slice(side, 2 * side)
    products = device_seconds(lambda: engine.products(rows, columns))
    first, second = engine.products(rows, columns)
    buffer = engine._buffers[0]

    def find() -> None:
        buffer.count.zero_()
        engine.append_candidates(
            first,
            second,
            engine.bounds,
            engine._side(0, side, True),
            engine._side(side, 2 * side, True),
            buffer,
        )

    return {
        "rows": side,
        "products_seconds": products,
        "products_tflops": 2 * sum(WIDTHS) * side**2 / products / 1e12,
        "find_seconds": device_seconds(find),
        "first_thresholds_seconds": device_seconds(
            lambda: _first_thresholds_again(engine, first, second), 3
        ),
        "pairs": int(buffer.count),
    }


def _first_thresholds_again(engine: CudaEngine, first: torch.Tensor, second: torch.Tensor) -> None:
    engine._has_threshold[: len(first)] = False
    engine._first_thresholds(first, second, engine.products.sides, 0, len(first))


def _device_memory(device: str) -> dict[str, float]:
    """Return peaks in GB; nothing for a CPU, whose memory is the host's."""
    if device == "cpu":
        return {}
    peaks = {
        "allocated": torch.cuda.max_memory_allocated(),
        "reserved": torch.cuda.max_memory_reserved(),
    }
    return {f"device_gb_{name}": size / 1e9 for name, size in peaks.items()}


def check(
    image: np.ndarray, text: np.ndarray, result: MiningResult, sample: int, device: str
) -> dict[str, int]:
    """Compare sampled rows with float64 products: float32 scores, ties by row number."""
    rows = np.sort(
        np.random.default_rng(0).choice(len(image), min(sample, len(image)), replace=False)
    )
    similarities = [_similarities(side, rows, device) for side in (image, text)]
    score = (
        similarities[0].clip(0)
        * similarities[1].clip(0)
        * np.all([part <= DUPLICATE for part in similarities], axis=0)
    )
    score[np.arange(len(rows)), rows] = 0
    score = score.astype(np.float32)
    wrong_rows = wrong_scores = 0
    for own, row in zip(score, rows, strict=True):
        best = np.flatnonzero(own >= -np.partition(-own, TOP_K)[TOP_K - 1])
        order = best[np.lexsort((best, -own[best]))][:TOP_K]
        wrong_rows += not np.array_equal(order, result.indices[row])
        wrong_scores += not np.array_equal(own[order], result.scores[row])
    return {
        "rows": len(rows),
        "rows_with_another_list": wrong_rows,
        "rows_with_other_scores": wrong_scores,
    }


def _similarities(side: np.ndarray, rows: np.ndarray, device: str) -> np.ndarray:
    """Return (S, N) float64 cosines of unit vectors as the search makes them."""

    def unit(part: np.ndarray) -> torch.Tensor:
        part = part.astype(np.float64)
        return (
            torch.from_numpy(
                (part / np.linalg.norm(part, axis=1, keepdims=True)).astype(np.float32)
            )
            .to(device)
            .double()
        )

    own = unit(side[rows])
    return np.concatenate(
        [
            (own @ unit(side[start : start + 65536]).T).cpu().numpy()
            for start in range(0, len(side), 65536)
        ],
        axis=1,
    )


def one_search(
    image: np.ndarray, text: np.ndarray, device: str, max_device_memory: int | None = None
) -> tuple[MiningResult, float]:
    start = time.perf_counter()
    execution = Execution(device, max_device_memory=max_device_memory, verbose=True)
    result = search(image, text, MiningOptions(top_k=TOP_K), execution=execution)
    assert result is not None
    return result, time.perf_counter() - start


def measured(
    image: np.ndarray,
    text: np.ndarray,
    stages: Stages,
    args: argparse.Namespace,
    max_device_memory: int | None,
) -> tuple[MiningResult, dict[str, Any]]:
    """Return the result and the figures of one search."""
    stages.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if args.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    result, seconds = one_search(image, text, args.device, max_device_memory)
    assert stages.engine is not None
    rows = stages.engine.products.rows
    copied = rows.copied if isinstance(rows, StreamedRows) else len(image)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    offered, products = stages.pairs, args.pairs * (args.pairs + args.tile) * sum(WIDTHS)
    return result, {
        "max_device_memory": max_device_memory,
        "seconds": seconds,
        "stages": dict(stages.seconds),
        "batches": stages.calls["receive"],
        "copied": copied / len(image),
        "pairs_offered_per_row": offered / args.pairs,
        "nanoseconds_per_pair_offered": stages.seconds["offer pairs"] / max(1, offered) * 1e9,
        **_device_memory(args.device),
        "host_gb_above_embeddings": (peak - before) / 1e6,
        "fill_tflops": products / stages.seconds["fill"] / 1e12,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2_900_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--sample", type=int, default=200, help="rows to check against float64")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tile", type=int, default=DEVICE_TILE, help="rows of a tile")
    parser.add_argument("--max-device-memory", type=byte_count, help="such as 8G")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    api.DEVICE_TILE = args.tile
    api.is_accelerator = engine.is_accelerator = lambda device: True
    peaks = ceilings(args.device)
    print(peaks, flush=True)
    small = themed(min(40_000, args.pairs // 4), args.device, seed=1)
    one_search(*small, args.device)
    print("compiled", flush=True)
    image, text = themed(args.pairs, args.device)
    print("data made", flush=True)
    runs, stages = [], Stages()
    stages.watch()
    limits = [None] * args.repeats
    if args.max_device_memory is not None:
        limits.append(args.max_device_memory)
    for limit in limits:
        result, figures = measured(image, text, stages, args, limit)
        runs.append(figures)
        print(figures, flush=True)
    assert stages.engine is not None
    tile = of_one_tile(stages.engine, args.pairs)
    print(tile, flush=True)
    stages.engine = None
    if peaks:
        tile["share_of_bfloat16_peak"] = tile["products_tflops"] / peaks["bfloat16_tflops"]
    gpu = torch.cuda.get_device_name() if args.device == "cuda" else None
    results = {
        "command": " ".join(["python -m benchmarks.mining_gpu", *sys.argv[1:]]),
        "machine": {**describe_machine(), "gpu": gpu},
        "pairs": args.pairs,
        "tile": args.tile,
        "threads": torch.get_num_threads(),
        "peaks": peaks,
        "runs": runs,
        "one_tile": tile,
        "kept": result.kept,
        "removed": result.removed,
        "check": check(image, text, result, args.sample, args.device),
    }
    print(results["check"], flush=True)
    if args.out:
        write_json(args.out, results)


if __name__ == "__main__":
    main()
