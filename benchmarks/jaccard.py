"""Near-duplicate texts by shared n-grams: our inverted index against the edge list that CLIPPINGS'
script builds.

    python -m benchmarks.jaccard --out benchmarks/results/jaccard.json

The script compares every text with every other, both ways round, and looks each edge up in a list.
Its rule is written down here anew (the comparisons, the double order, the list), timed on a few
texts, and extrapolated: comparisons grow with the square of the texts. On these few both must give
the same edges. Texts: sentences of made-up words with Zipf's frequencies, a third of them noised
copies of others.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import PeakMemory, describe_machine
from hardpairs.core.atomic import write_json
from hardpairs.data.words import split_words
from hardpairs.metrics.jaccard import jaccard_edges, ngrams


def texts_of(count: int, seed: int = 0) -> list[str]:
    """Texts of 15 to 60 words."""
    rng = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, 20_001)
    made = [
        " ".join(
            map(
                "w{}".format,
                rng.choice(20_000, rng.integers(15, 60), p=frequency / frequency.sum()),
            )
        )
        for _ in range(count * 2 // 3)
    ]
    for source in rng.integers(0, len(made), count - len(made)):
        words = [word for word in made[source].split() if rng.random() > 0.15]
        made.append(" ".join(words) or made[source])
    return made


def edge_list(texts: list[str], n: int, threshold: float) -> list[tuple[int, int]]:
    """The script's way: all pairs both ways round, each new edge looked up in the list of those
    that are there.
    """
    sets = [ngrams(split_words(text, "printed"), n) for text in texts]
    edges: list[tuple[int, int]] = []
    for i, a in enumerate(sets):
        for j, b in enumerate(sets):
            if (
                i != j
                and a
                and b
                and len(a & b) / len(a | b) >= threshold
                and (min(i, j), max(i, j)) not in edges
            ):
                edges.append((min(i, j), max(i, j)))
    return edges


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument(
        "--few", type=int, default=2_000, help="texts that the script's way is timed on"
    )
    parser.add_argument("--n", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threshold", type=float, default=0.1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    texts, results = texts_of(args.texts), []
    for n in args.n:
        few = texts[:: args.texts // args.few][: args.few]
        start = time.perf_counter()
        theirs = edge_list(few, n, args.threshold)
        few_seconds = time.perf_counter() - start
        ours_few, _ = jaccard_edges(few, n=n, threshold=args.threshold)
        memory = PeakMemory()
        start = time.perf_counter()
        edges, _ = jaccard_edges(texts, n=n, threshold=args.threshold)
        seconds = time.perf_counter() - start
        extrapolated = few_seconds * (args.texts / args.few) ** 2
        results.append(
            {
                "n": n,
                "edges": len(edges),
                "seconds": seconds,
                "gigabytes": memory.gigabytes(),
                "edge_list_seconds_on_few": few_seconds,
                "edge_list_seconds_extrapolated": extrapolated,
                "ratio": extrapolated / seconds,
                "same_edges_on_few": sorted(theirs) == [tuple(pair) for pair in ours_few.tolist()],
            }
        )
        print(json.dumps(results[-1]), flush=True)
    command = " ".join(["python -m benchmarks.jaccard", *sys.argv[1:]])
    numbers = {"texts": args.texts, "few": args.few, "threshold": args.threshold}
    write_json(
        args.out, {"command": command, **numbers, "machine": describe_machine(), "results": results}
    )


if __name__ == "__main__":
    main()
