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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.atomic import atomic_open, write_json, write_text
from hardpairs.core.errors import Exit, bad_input, usage, whole_number
from hardpairs.data.samples import Samples
from hardpairs.linking.choose import row_labels, split_by_label
from hardpairs.metrics.clustering import compare_clusters
from hardpairs.metrics.jaccard import between_sources, jaccard_blocks, jaccard_clusters

GRID_N = range(1, 6)
GRID_THRESHOLD = tuple(round(0.05 + 0.01 * step, 2) for step in range(16))
"""What CLIPPINGS tries."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hardpairs jaccard",
        description="Link near-duplicate texts by shared n-grams of words.",
    )
    parser.add_argument("--data", required=True, help="CSV, shards or captions.json")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--n", type=whole_number(1), help="words of an n-gram")
    parser.add_argument("--threshold", type=float, help="least share of n-grams in common")
    parser.add_argument(
        "--same-source",
        help="pattern whose first group names a row's source in its key; rows of one source are never linked",
    )
    parser.add_argument(
        "--val-share",
        type=float,
        default=0.4,
        help="share of the labels that the choice is made on",
    )
    parser.add_argument("--seed", type=whole_number(0), default=42, help="of the split")
    add_data_flags(parser)
    args = parse_arguments(parser, "jaccard", argv)
    if (args.n is None) != (args.threshold is None):
        raise usage(
            "--n and --threshold go together", fix="give both, or neither to choose them by label"
        )
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


@dataclass(frozen=True)
class Choice:
    """n and the threshold, the ARI they give on the labels that choose, and (N,) clusters."""

    n: int
    threshold: float
    validation_ari: float
    clusters: np.ndarray


def choose(
    texts: list[str],
    validation: np.ndarray,
    sources: np.ndarray,
    ns: Sequence[int],
    thresholds: Sequence[float],
) -> Choice:
    """The n and the threshold whose clusters agree best with the labels that are not negative; of equal ones the first.

    Args:
        validation: (N,) labels. sources: (N,); rows of one are never linked.
    """
    tried = (
        Choice(n, threshold, compare_clusters(validation, clusters).get("ari", 0.0), clusters)
        for n in ns
        for threshold, clusters in zip(
            thresholds,
            jaccard_clusters(texts, n=n, thresholds=thresholds, source_ids=sources),
            strict=True,
        )
    )
    return max(tried, key=lambda choice: choice.validation_ari)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    samples = open_named(args.data, args)
    texts, sources, labels = (
        list(samples.captions),
        sources_of(samples, args.same_source),
        row_labels(samples, np.arange(len(samples))),
    )
    validation, test = split_by_label(labels, args.val_share, args.seed)
    if args.n is None and not (validation >= 0).any():
        raise bad_input(
            "no row has a label to choose --n and --threshold by",
            where=args.data,
            fix="--csv-label-key, or give both",
        )
    grid = (GRID_N, GRID_THRESHOLD) if args.n is None else ([args.n], [args.threshold])
    choice = choose(texts, validation, sources, *grid)
    record = {
        "n": choice.n,
        "threshold": choice.threshold,
        "validation_ari": choice.validation_ari,
        "links": _write_links(args.out / "links.csv", samples, sources, choice),
        "test": compare_clusters(test, choice.clusters),
        "all": compare_clusters(labels, choice.clusters),
    }
    _write_clusters(args.out / "clusters.csv", samples, choice.clusters)
    write_json(args.out / "jaccard.json", record)
    print(json.dumps(record))
    print(f"links: {args.out / 'links.csv'}", file=sys.stderr)
    return Exit.OK


def _write_links(path: Path, samples: Samples, sources: np.ndarray, choice: Choice) -> int:
    """Writes the pairs that are linked, and returns how many there are; a block at a time, since they may be far more than texts."""
    count = 0
    with atomic_open(path) as file:
        file.write(_lines([["row", "key", "other_row", "other_key", "jaccard"]]).encode())
        for found in jaccard_blocks(list(samples.captions), n=choice.n, threshold=choice.threshold):
            pairs, values = between_sources(*found, sources)
            count += len(pairs)
            rows = zip(*pairs.T.tolist(), values.tolist(), strict=True)
            file.write(
                _lines(
                    [i, samples.keys[i], j, samples.keys[j], f"{value:.6f}"] for i, j, value in rows
                ).encode()
            )
    return count


def _write_clusters(path: Path, samples: Samples, clusters: np.ndarray) -> None:
    rows = ([row, samples.keys[row], cluster] for row, cluster in enumerate(clusters.tolist()))
    write_text(path, _lines([["row", "key", "cluster"], *rows]))


def _lines(rows: Iterable[list]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
