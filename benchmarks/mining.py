"""Hard pair mining against what else finds such pairs: time, peak memory, recall.

    python -m benchmarks.mining --out benchmarks/results/mining.json
    python -m benchmarks.mining --pairs 3000 --repeats 1 --only methods pools --out /tmp/look.json

Parts, with N = ``--pairs``: ``methods`` (ours, HELIP's algorithm, dense float32), ``faiss`` (at
2/5 N: it is slow), ``processes`` (at N and 2N: two of one thread against one), ``growth`` (N/2 and
2N), ``pools`` (``--approx``), ``clusters`` (``--candidates ivf`` at 2/5 N and 2N).

Data: N pairs of 384-d image and 768-d text embeddings. "themed": themes, topics and sub-topics of
log-normal sizes, which images and captions share, with a power-law spectrum: neighbors exist, as in
real embeddings. "isotropic": normal numbers; no pair is hard, and thresholds gain least. Every
measurement is a process of its own, methods take turns, and the shortest time of each counts (all
are in the file). Recall is the share of our pairs that a method lists. Ours is compared on sampled
rows with a float64 product of all rows.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import PeakMemory, describe_machine
from hardpairs.core.atomic import write_json
from hardpairs.core.progress import Progress
from hardpairs.core.ranks import join
from hardpairs.mining.api import Execution, search
from hardpairs.mining.options import MiningOptions
from hardpairs.planning.made_rows import themed_rows

WIDTHS = (384, 768)
TOP_K = 50
DUPLICATE = 0.98


def themed(count: int, seed: int = 0) -> list[np.ndarray]:
    """Return embeddings of pairs that belong to one of 40 x 20 x 10 sub-topics."""
    return themed_rows(count, WIDTHS, seed)


def isotropic(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(count, width)).astype(np.float32) for width in WIDTHS]


def helip(image: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Run HELIP's published algorithm: 600 targets at a time against all rows.

    It takes a pair for itself when its captions are alike.
    """
    x, y = (torch.nn.functional.normalize(torch.from_numpy(rows), dim=1) for rows in (image, text))
    lists = []
    for start in range(0, len(x), 600):
        texts, images = y[start : start + 600] @ y.T, x[start : start + 600] @ x.T
        texts[texts > 0.995] = -1
        near = (texts > DUPLICATE) | (images > DUPLICATE)
        texts[near], images[near] = 0, 0
        lists.append((texts * images).topk(TOP_K, dim=1).indices)
    return torch.cat(lists).numpy()


def dense(image: np.ndarray, text: np.ndarray, rows: int = 1024) -> np.ndarray:
    """Take the top K of float32 blocks, with our definition of a hard pair."""
    x, y = (torch.nn.functional.normalize(torch.from_numpy(part), dim=1) for part in (image, text))
    lists = []
    for start in range(0, len(x), rows):
        images, texts = x[start : start + rows] @ x.T, y[start : start + rows] @ y.T
        near = (images > DUPLICATE) | (texts > DUPLICATE)
        score = images.clamp_(min=0).mul_(texts.clamp_(min=0)).masked_fill_(near, 0)
        score[torch.arange(len(score)), torch.arange(start, start + len(score))] = 0
        lists.append(score.topk(TOP_K, dim=1).indices)
    return torch.cat(lists).numpy()


def faiss_rerank(image: np.ndarray, text: np.ndarray, candidates: int = 1000) -> np.ndarray:
    """Search each modality with FAISS flat; rescore the candidates of both."""
    import faiss

    unit = [
        np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
        for rows in (image, text)
    ]
    near = []
    for rows in unit:
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(rows)
        near.append(index.search(rows, candidates)[1])
    return _rescored(unit, np.concatenate(near, axis=1))


def faiss_concatenated(image: np.ndarray, text: np.ndarray, candidates: int = 200) -> np.ndarray:
    """Search joined vectors with FAISS flat (the sum of the similarities); rescore candidates."""
    import faiss

    unit = [
        np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
        for rows in (image, text)
    ]
    joined = np.concatenate(unit, axis=1)
    index = faiss.IndexFlatIP(joined.shape[1])
    index.add(joined)
    return _rescored(unit, index.search(joined, candidates)[1])


def _rescored(unit: list[np.ndarray], candidates: np.ndarray) -> np.ndarray:
    lists = []
    for i, row in enumerate(candidates):
        others = np.setdiff1d(row, [i, -1])
        similarities = [rows[others] @ rows[i] for rows in unit]
        score = np.prod([np.maximum(s, 0) for s in similarities], axis=0) * np.all(
            [s <= DUPLICATE for s in similarities], axis=0
        )
        best = others[np.argsort(-score, kind="stable")[:TOP_K]]
        lists.append(np.pad(best, (0, TOP_K - len(best)), constant_values=-1))
    return np.array(lists)


PEERS = {
    "helip": helip,
    "dense": dense,
    "faiss_rerank": faiss_rerank,
    "faiss_concatenated": faiss_concatenated,
}
KINDS = {"themed": themed, "isotropic": isotropic}


def one(method: str, folder: Path, approximate: dict[str, Any]) -> None:
    """Measure in this process, or in several, with compiled code loaded and threads warm.

    Args:
        method: Ours, or one of the peers.
        folder: Holds the embeddings, and receives the lists.
        approximate: Options of ours that make the search approximate.
    """
    ranks = join()
    image, text = (np.load(folder / f"{name}.npy", mmap_mode="c") for name in ("image", "text"))
    if method == "ours":
        search(np.array(image[:5000]), np.array(text[:5000]), MiningOptions(top_k=TOP_K))
    torch.ones(512, 512) @ torch.ones(512, 512)
    image.sum(), text.sum()  # in the page cache, and counted as there already
    progress = (
        Progress(Path(os.environ["BENCHMARK_WORK"]), {}, owner=ranks.rank == 0)
        if ranks.world_size > 1
        else None
    )
    ranks.barrier()
    memory = PeakMemory()
    measured: dict[str, Any] = {}
    start = time.perf_counter()
    if method == "ours":
        options = MiningOptions(top_k=TOP_K, **approximate)
        execution = Execution(progress=progress, ranks=ranks)
        result = search(image, text, options, execution=execution)
        indices, scores = (None, None) if result is None else (result.indices, result.scores)
        if result is not None and result.recall is not None:
            measured["measured"] = result.recall.for_manifest()
        if result is not None and result.clusters is not None:
            measured["clusters"] = result.clusters
    else:
        indices, scores = PEERS[method](image, text), None
    seconds = time.perf_counter() - start
    ranks.close()
    if indices is not None:
        # Of one kind: lists in files have int32 numbers, those in memory int64.
        np.save(folder / f"{method}.npy", indices.astype(np.int32))
        if scores is not None:
            np.save(folder / f"{method}_scores.npy", scores)
        memory_used = {"gb_above_embeddings": memory.gigabytes()}
        print(json.dumps({"seconds": seconds, **memory_used, **measured}))


def measure(
    method: str,
    folder: Path,
    *,
    threads: int,
    processes: int = 1,
    approximate: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Run ``one`` in a process of its own, or in several by torchrun."""
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        if processes > 1
        else []
    )
    command = [
        sys.executable,
        *launcher,
        "-m",
        "benchmarks.mining",
        "--one",
        method,
        "--folder",
        str(folder),
    ]
    with tempfile.TemporaryDirectory() as work:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "BENCHMARK_WORK": f"{work}/work",
        }
        extra = ["--approximate", json.dumps(approximate)] if approximate else []
        done = subprocess.run([*command, *extra], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def recall(listed: np.ndarray, exact: np.ndarray) -> float:
    """Return the share of the exact pairs that are listed."""
    common = sum(len(np.intersect1d(a, b[b >= 0])) for a, b in zip(listed, exact, strict=True))
    return common / max(1, int((exact >= 0).sum()))


def wrong_rows(folder: Path, exact: np.ndarray, sample: int = 200) -> int:
    """Count sampled rows whose list is not that of a float64 product of all rows."""
    unit = []
    for name in ("image", "text"):
        rows = np.load(folder / f"{name}.npy").astype(np.float64)
        unit.append(
            (rows / np.linalg.norm(rows, axis=1, keepdims=True))
            .astype(np.float32)
            .astype(np.float64)
        )
    wrong = 0
    for i in np.random.default_rng(0).choice(len(exact), min(sample, len(exact)), replace=False):
        similarities = [rows @ rows[i] for rows in unit]
        score = np.prod([np.maximum(s, 0) for s in similarities], axis=0) * np.all(
            [s <= DUPLICATE for s in similarities], axis=0
        )
        score[i] = 0
        order = np.lexsort((np.arange(len(score)), -score.astype(np.float32)))[:TOP_K]
        wrong += not np.array_equal(order[score[order] > 0], exact[i][exact[i] >= 0])
    return wrong


def compare(
    kind: str, count: int, methods: list[str], repeats: int, threads: int, folder: Path
) -> list[dict[str, Any]]:
    """Return one row per method: the shortest of interleaved repeats."""
    make_data(kind, count, folder)
    runs: dict[str, list[dict]] = {method: [] for method in methods}
    for _ in range(repeats):
        for method in methods:
            runs[method].append(measure(method, folder, threads=threads))
    exact = np.load(folder / "ours.npy")
    rows: list[dict[str, Any]] = []
    for method, results in runs.items():
        times = [result["seconds"] for result in results]
        row = {
            "data": kind,
            "pairs": count,
            "method": method,
            "seconds": min(times),
            "all_seconds": times,
            "gb_above_embeddings": max(result["gb_above_embeddings"] for result in results),
            "recall": recall(np.load(folder / f"{method}.npy"), exact),
        }
        rows.append(
            {**row, "times_ours": row["seconds"] / (rows[0]["seconds"] if rows else row["seconds"])}
        )
        show(rows[-1])
    rows[0]["sampled_rows_that_differ_from_float64"] = wrong_rows(folder, exact)
    return rows


def make_data(kind: str, count: int, folder: Path) -> None:
    for name, rows in zip(("image", "text"), KINDS[kind](count), strict=True):
        np.save(folder / f"{name}.npy", rows)


def show(row: dict) -> None:
    print(
        ", ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in row.items()
        ),
        flush=True,
    )


def benchmark_faiss(count: int, repeats: int, threads: int, folder: Path) -> list[dict[str, Any]]:
    if importlib.util.find_spec("faiss") is None:
        print("faiss: left out, faiss-cpu is not installed", file=sys.stderr)
        return []
    return compare(
        "themed", count, ["ours", "faiss_concatenated", "faiss_rerank"], repeats, threads, folder
    )


def benchmark_pools(count: int, threads: int, folder: Path) -> list[dict[str, Any]]:
    """Measure pools of 1/2 to 1/64 of the rows: recall, and mean score to that of exact lists."""
    make_data("themed", count, folder)
    rows: list[dict[str, Any]] = []
    for part in (1, 2, 4, 8, 16, 32, 64):
        approximate = {"approx": count // part} if part > 1 else None
        result = measure("ours", folder, threads=threads, approximate=approximate)
        listed, mean = (
            np.load(folder / "ours.npy"),
            float(np.load(folder / "ours_scores.npy").mean()),
        )
        if part == 1:
            exact, exact_mean = listed, mean
        rows.append(
            {
                "pairs": count,
                "pool": count // part,
                **result,
                "recall": recall(listed, exact),
                "mean_score": mean / exact_mean,
            }
        )
        show(rows[-1])
    return rows


def benchmark_clusters(
    kind: str, count: int, repeats: int, threads: int, folder: Path
) -> list[dict[str, Any]]:
    """Measure targets of recall: the recall of all rows, what a run says of it, and the time."""
    make_data(kind, count, folder)
    runs: dict[float | None, list[dict[str, Any]]] = {}
    rows: list[dict[str, Any]] = []
    for _ in range(repeats):
        for target in (None, 0.8, 0.95, 0.99):
            approximate = target and {"candidates": "ivf", "target_recall": target}
            result = measure("ours", folder, threads=threads, approximate=approximate)
            listed = np.load(folder / "ours.npy")
            scores = float(np.load(folder / "ours_scores.npy").sum(dtype=np.float64))
            if target is None:
                exact, exact_score = listed, scores
            row = {"data": kind, "pairs": count, "target": target, **result}
            row |= {"recall": recall(listed, exact), "score": scores / exact_score}
            runs.setdefault(target, []).append(row)
    for results in runs.values():
        times = [row["seconds"] for row in results]
        rows.append({**results[0], "seconds": min(times), "all_seconds": times})
        show(rows[-1])
    return rows


def benchmark_processes(count: int, repeats: int, folder: Path) -> dict[str, Any]:
    """Measure two processes of one thread against one."""
    make_data("themed", count, folder)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    lists = {}
    for _ in range(repeats):
        for number in seconds:
            seconds[number].append(measure("ours", folder, threads=1, processes=number)["seconds"])
            lists[number] = (folder / "ours.npy").read_bytes()
    one, two = min(seconds[1]), min(seconds[2])
    row = {
        "pairs": count,
        "one": one,
        "two": two,
        "ratio": one / two,
        "all_seconds": seconds,
        "same_bytes": lists[1] == lists[2],
    }
    show(row)
    return row


def benchmark_growth(
    sizes: list[int], repeats: int, threads: int, folder: Path
) -> list[dict[str, Any]]:
    rows = [
        row
        for count in sizes
        for row in compare("themed", count, ["ours"], repeats, threads, folder)
    ]
    return [
        {**row, "nanoseconds_per_pair": row["seconds"] / row["pairs"] ** 2 * 1e9} for row in rows
    ]


def table_text(record: dict[str, Any]) -> str:
    """Return the results as Markdown tables."""
    results = {part: measured["result"] for part, measured in record.items()}
    lines = [
        "| | N | seconds | times ours | recall | GB above the embeddings |",
        "|---|---|---|---|---|---|",
    ]
    for row in [*results.get("methods", []), *results.get("faiss", [])]:
        name = {
            "ours": "ours",
            "helip": "HELIP's algorithm",
            "dense": "dense float32",
            "faiss_rerank": "FAISS per modality, reranked",
        }
        method = name.get(row["method"], "FAISS on joined vectors, reranked")
        lines.append(
            f"| {method}, {row['data']} | {row['pairs']:,} | {row['seconds']:.1f} | "
            f"{row['times_ours']:.1f} | {row['recall']:.4f} | {row['gb_above_embeddings']:.2f} |"
        )
    lines += ["", "| what | measured |", "|---|---|"]
    for row in results.get("processes", []):
        lines.append(
            f"| two processes to one, {row['pairs']:,} pairs | {row['ratio']:.2f}, "
            f"same bytes: {row['same_bytes']} |"
        )
    for row in results.get("growth", []):
        lines.append(
            f"| ns per pair of rows at {row['pairs']:,}; GB | {row['nanoseconds_per_pair']:.2f}; "
            f"{row['gb_above_embeddings']:.2f} |"
        )
    for row in results.get("pools", []):
        lines.append(
            f"| `--approx {row['pool']}` of {row['pairs']:,}: recall; mean score to exact; seconds "
            f"| {row['recall']:.3f}; {row['mean_score']:.3f}; {row['seconds']:.1f} |"
        )
    for row in results.get("clusters", []):
        compared = row.get("clusters", {"compared": 1})["compared"]
        lines.append(
            f"| `--target-recall {row['target']}` of {row['pairs']:,}, {row['data']}: recall; score "
            f"to exact; pairs compared; seconds | {row['recall']:.4f}; {row['score']:.4f}; "
            f"{compared:.3f}; {row['seconds']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=50_000)
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=["themed"], help="data of the methods"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, help="the other parts of --out stay")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", choices=("ours", *PEERS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--approximate", type=json.loads, default={}, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        return one(args.one, args.folder, args.approximate)
    if args.out is None:
        parser.error("--out is missing")
    record: dict[str, Any] = (
        json.loads(args.out.read_text()) if args.only and args.out.exists() else {}
    )
    with tempfile.TemporaryDirectory() as name:
        for part in args.only or PARTS:
            result = PARTS[part](args, Path(name))
            command = " ".join(["python -m benchmarks.mining", *sys.argv[1:]])
            busy = os.getloadavg()[0]  # far above --threads: something else was running, too
            record[part] = {
                "command": command,
                "threads": args.threads,
                "load": busy,
                "machine": describe_machine(),
                "result": result,
            }
            write_json(args.out, record)
    print(table_text(record))


PARTS: dict[str, Callable[[argparse.Namespace, Path], Any]] = {
    "methods": lambda args, folder: [
        row
        for kind in args.kinds
        for row in compare(
            kind, args.pairs, ["ours", "helip", "dense"], args.repeats, args.threads, folder
        )
    ],
    "faiss": lambda args, folder: benchmark_faiss(args.pairs * 2 // 5, 1, args.threads, folder),
    "processes": lambda args, folder: [
        benchmark_processes(count, args.repeats, folder) for count in (args.pairs, args.pairs * 2)
    ],
    "growth": lambda args, folder: benchmark_growth(
        [args.pairs // 2, args.pairs * 2], args.repeats, args.threads, folder
    ),
    "pools": lambda args, folder: benchmark_pools(args.pairs, args.threads, folder),
    "clusters": lambda args, folder: [
        row
        for kind in args.kinds
        for count in (args.pairs * 2 // 5, args.pairs * 2)
        for row in benchmark_clusters(kind, count, args.repeats, args.threads, folder)
    ],
}


if __name__ == "__main__":
    main()
