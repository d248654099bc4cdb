"""Single linkage and the best cut, against a plain Prim loop and against a random search of
thresholds.

    python -m benchmarks.linkage --out benchmarks/results/linkage.json

Data: clusters of log-normal size, 768-d, spread so that ARI is neither 0 nor 1. "prim": one product
of a row with all rows per step (the textbook way in O(N) memory), and the same cuts. "random
search": thresholds tried through scikit-learn's DBSCAN as CLIPPINGS does, 100,000 of them; a few
are timed and the rest extrapolated. Every measurement is a process of its own, methods take turns,
the shortest time counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import PeakMemory, describe_machine
from hardpairs.core.atomic import write_json
from hardpairs.core.vectors import unit_rows
from hardpairs.metrics.linkage import Tree, all_cuts, best_threshold, single_linkage

WIDTH = 768
SEARCHES = 100_000
"""Thresholds that CLIPPINGS tries."""


def clustered(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(embeddings, labels): topics, clusters in them of log-normal size, and noise; power-law
    spectrum.
    """
    rng = np.random.default_rng(seed)
    clusters = count // 8
    weights = np.exp(rng.normal(size=clusters))
    labels = rng.choice(clusters, count, p=weights / weights.sum())
    spectrum = np.arange(1, WIDTH + 1) ** -0.35
    topic = rng.normal(size=(200, WIDTH)) * spectrum
    centre = (
        topic[rng.integers(0, 200, clusters)] + 0.9 * rng.normal(size=(clusters, WIDTH)) * spectrum
    )
    rows = np.empty((count, WIDTH), np.float32)
    for start in range(0, count, 8192):
        at = labels[start : start + 8192]
        noise = (
            rng.gamma(2.0, 0.33, size=(len(at), 1)) * rng.normal(size=(len(at), WIDTH)) * spectrum
        )
        rows[start : start + 8192] = centre[at] + noise
    return rows, labels


def prim(embeddings: np.ndarray) -> Tree:
    """One row at a time: its similarities to all, and the nearest row outside joins."""
    rows = unit_rows(embeddings)
    best, source = rows @ rows[0], np.zeros(len(rows), np.int64)
    outside = np.ones(len(rows), bool)
    outside[0] = False
    left, right, heights = (
        np.empty(len(rows) - 1, kind) for kind in (np.int64, np.int64, np.float64)
    )
    for step in range(len(rows) - 1):
        new = int(np.where(outside, best, -np.inf).argmax())
        left[step], right[step], heights[step] = source[new], new, max(0.0, 1 - float(best[new]))
        outside[new] = False
        similar = rows @ rows[new]
        nearer = (similar > best) & outside
        best[nearer], source[nearer] = similar[nearer], new
    order = np.argsort(heights, kind="stable")
    return Tree(left[order], right[order], heights[order])


def one(method: str, count: int) -> dict:
    """One measurement in this process."""
    rows, labels = clustered(count)
    single_linkage(rows[:300])
    memory = PeakMemory()
    start = time.perf_counter()
    tree = {"ours": single_linkage, "prim": prim}[method](rows)
    linked = time.perf_counter()
    threshold, ari = best_threshold(tree, labels)
    done = time.perf_counter()
    result = {
        "seconds": done - start,
        "linkage_seconds": linked - start,
        "cuts_seconds": done - linked,
        "cuts": len(all_cuts(tree, labels).thresholds),
        "gb_above_embeddings": memory.gigabytes(),
        "threshold": threshold,
        "ari": ari,
        "heights_sum": float(tree.heights.sum()),
    }
    return result | (against_search(rows, labels, tree, threshold) if method == "ours" else {})


def against_search(rows: np.ndarray, labels: np.ndarray, tree: Tree, threshold: float) -> dict:
    """Equality with DBSCAN at the found threshold, and what CLIPPINGS' search costs on a part of
    the rows.
    """
    from sklearn.cluster import DBSCAN
    from sklearn.metrics import adjusted_rand_score

    few = slice(0, 5000)
    start = time.perf_counter()
    found = DBSCAN(eps=threshold, min_samples=1, metric="cosine").fit_predict(rows[few])
    adjusted_rand_score(labels[few], found)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    small = single_linkage(rows[few])
    _, best = best_threshold(small, labels[few])
    ours = time.perf_counter() - start
    tries = np.random.default_rng(0).uniform(0.01, 1, 2000)
    searched = max(adjusted_rand_score(labels[few], small.labels(t)) for t in tries)
    return {
        "search": {
            "pairs": 5000,
            "one_try_seconds": seconds,
            "all_tries_to_ours": seconds * SEARCHES / ours,
            "ari_of_2000_tries": searched,
            "ari": best,
            "equal_to_dbscan": adjusted_rand_score(found, small.labels(threshold)) == 1.0,
        }
    }


def measure(method: str, count: int, threads: int) -> dict:
    command = [sys.executable, "-m", "benchmarks.linkage", "--one", method, "--rows", str(count)]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": str(threads)}, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 50_000])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", choices=("ours", "prim"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        return print(json.dumps(one(args.one, args.rows[0])))
    if args.out is None:
        parser.error("--out is missing")
    results = []
    for count in args.rows:
        runs = {method: [] for method in ("ours", "prim")}
        for _ in range(args.repeats):
            for method, done in runs.items():
                done.append(measure(method, count, args.threads))
        best = {method: min(done, key=lambda run: run["seconds"]) for method, done in runs.items()}
        ratio = best["prim"]["seconds"] / best["ours"]["seconds"]
        results.append({"rows": count, "prim_to_ours": ratio, **best, "all": runs})
        print(
            json.dumps({key: value for key, value in results[-1].items() if key != "all"}),
            flush=True,
        )
    command = " ".join(["python -m benchmarks.linkage", *sys.argv[1:]])
    write_json(
        args.out,
        {
            "command": command,
            "threads": args.threads,
            "machine": describe_machine(),
            "results": results,
        },
    )


if __name__ == "__main__":
    main()
