"""Links near-duplicate texts by shared words: CLIPPINGS' baseline, and what a model has to beat.

    python -m tools.jaccard --data news.csv --csv-label-key label --out jaccard
    python -m tools.jaccard --data news.csv --n 3 --threshold 0.1 --out jaccard

Without ``--n`` and ``--threshold`` they are the best of CLIPPINGS' grid on a part of the labels, and the report comes from the others (as in
tools.link). Writes OUT/clusters.csv, OUT/links.csv and OUT/jaccard.json.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
from pathlib import Path

import numpy as np

from evaluation.clustering import compare_clusters
from evaluation.jaccard import jaccard_edges
from evaluation.linkage import components
from formats.arguments import add_data_flags, open_named
from formats.atomic import write_json, write_text
from formats.errors import Exit, bad_input, run_command, usage, whole_number
from formats.samples import Samples
from tools.linking.choose import row_labels, split_by_label

GRID_N = range(1, 6)
GRID_THRESHOLD = tuple(round(0.05 + 0.01 * step, 2) for step in range(16))
"""What CLIPPINGS tries."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.jaccard", description="Link near-duplicate texts by shared n-grams of words.")
    parser.add_argument("--data", required=True, help="CSV, shards or captions.json")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--n", type=whole_number(1), help="words of an n-gram")
    parser.add_argument("--threshold", type=float, help="least share of n-grams in common")
    parser.add_argument(
        "--same-source", help="pattern whose first group names a row's source in its key; rows of one source are never linked"
    )
    parser.add_argument("--val-share", type=float, default=0.4, help="share of the labels that the choice is made on")
    parser.add_argument("--seed", type=whole_number(0), default=42, help="of the split")
    add_data_flags(parser)
    args = parser.parse_args(argv)
    if (args.n is None) != (args.threshold is None):
        raise usage("--n and --threshold go together", fix="give both, or neither to choose them by label")
    if args.threshold is not None and not 0 < args.threshold <= 1:
        raise usage(f"--threshold must be in (0, 1], not {args.threshold}")
    return args


def sources_of(samples: Samples, pattern: str | None) -> np.ndarray:
    """(N,) int64, equal for rows of one source; every row its own without a pattern.

    Raises:
        UserError: exit 2 for a pattern without a group, exit 3 for a key that it does not match.
    """
    if pattern is None:
        return np.arange(len(samples))
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise usage(f"no regular expression: {error}", where=f"--same-source {pattern}") from None
    if not expression.groups:
        raise usage(
            "the pattern has no group",
            where=f"--same-source {pattern}",
            fix="such as '[^/_]*_([^/]*)$': what stands after a file name's first underscore",
        )
    found = [expression.search(key) for key in samples.keys]
    if None in found:
        row = found.index(None)
        raise bad_input("the pattern does not match a key", where=f"row {row}: {samples.keys[row]}")
    return np.unique([match[1] for match in found if match], return_inverse=True)[1]


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    samples = open_named(args.data, args)
    texts, sources, labels = list(samples.captions), sources_of(samples, args.same_source), row_labels(samples, np.arange(len(samples)))
    validation, test = split_by_label(labels, args.val_share, args.seed)
    if args.n is None and not (validation >= 0).any():
        raise bad_input("no row has a label to choose --n and --threshold by", where=args.data, fix="--csv-label-key, or give both")
    best: tuple[float, int, float, np.ndarray, np.ndarray] | None = None
    for n in GRID_N if args.n is None else [args.n]:
        thresholds = GRID_THRESHOLD if args.threshold is None else [args.threshold]
        pairs, values = jaccard_edges(texts, n=n, threshold=min(thresholds))
        apart = sources[pairs[:, 0]] != sources[pairs[:, 1]]
        pairs, values = pairs[apart], values[apart]
        for threshold in thresholds:
            linked = values >= threshold
            clusters = components(len(texts), *pairs[linked].T)
            ari = compare_clusters(validation, clusters).get("ari", 0.0)
            if best is None or ari > best[0]:
                best = ari, n, threshold, clusters, np.column_stack([pairs[linked], values[linked]])
    assert best is not None
    ari, n, threshold, clusters, links = best
    record = {
        "n": n,
        "threshold": threshold,
        "validation_ari": ari,
        "links": len(links),
        "test": compare_clusters(test, clusters),
        "all": compare_clusters(labels, clusters),
    }
    _write(args.out, samples, clusters, links, record)
    print(json.dumps(record))
    print(f"links: {args.out / 'links.csv'}", file=sys.stderr)
    return Exit.OK


def _write(out: Path, samples: Samples, clusters: np.ndarray, links: np.ndarray, record: dict) -> None:
    for name, header, rows in (
        ("clusters.csv", ["row", "key", "cluster"], ([row, samples.keys[row], cluster] for row, cluster in enumerate(clusters.tolist()))),
        (
            "links.csv",
            ["row", "key", "other_row", "other_key", "jaccard"],
            ([int(i), samples.keys[int(i)], int(j), samples.keys[int(j)], f"{value:.6f}"] for i, j, value in links.tolist()),
        ),
    ):
        text = io.StringIO()
        csv.writer(text).writerows([header, *rows])
        write_text(out / name, text.getvalue())
    write_json(out / "jaccard.json", record)


if __name__ == "__main__":
    run_command(main)
