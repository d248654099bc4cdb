"""Makers of batches by name. Each is one file; a new one is one file and one line in the table."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.batches.class_neighbours import (
    ClassNeighbourBatchSampler,
    classes_of_hard_pairs,
    nearest_classes,
)
from hardpairs.batches.clusters import cluster
from hardpairs.batches.hard_pairs import CHOICES, HardPairBatchSampler
from hardpairs.batches.info import HARD_PAIR, RANDOM, SPARE, TARGET, BatchInfo
from hardpairs.batches.m_per_class import MPerClassBatchSampler
from hardpairs.batches.neighbourhood import (
    NeighbourhoodBatchSampler,
    bandwidth_order,
    community_order,
    hard_pair_graph,
)
from hardpairs.batches.ordered import compact
from hardpairs.batches.random_rows import RandomBatchSampler
from hardpairs.batches.sampler import BatchSampler
from hardpairs.batches.stored import made_once
from hardpairs.batches.topical import TopicalBatchSampler
from hardpairs.core.errors import mismatch, usage
from hardpairs.data.embeddings import Embeddings, open_embeddings
from hardpairs.data.hard_pairs import HardPairTable, open_hard_pairs
from hardpairs.data.manifest import check_same_dataset
from hardpairs.data.samples import Samples
from hardpairs.data.url_index import rows_by_old_number
from hardpairs.metrics.pooling import pooled

__all__ = [
    "BATCHING",
    "CHOICES",
    "HARD_PAIR",
    "NEIGHBOURHOODS",
    "RANDOM",
    "SPARE",
    "TARGET",
    "BatchInfo",
    "BatchSampler",
    "HardPairBatchSampler",
    "MPerClassBatchSampler",
    "NeighbourhoodBatchSampler",
    "RandomBatchSampler",
    "TopicalBatchSampler",
    "open_stored_embeddings",
    "open_table",
]

Base = dict[str, Any]
"""What every sampler takes: ``batch_size``, ``seed``, ``rank``, ``world_size``, ``accumulate``, ``exclude``."""

NEIGHBOURHOODS = ("rcm", "communities")


def _random(args: argparse.Namespace, samples: Samples, base: Base, verify: bool) -> BatchSampler:
    return RandomBatchSampler(len(samples), **base)


def _hard_pairs(
    args: argparse.Namespace, samples: Samples, base: Base, verify: bool
) -> BatchSampler:
    table = open_table(args, samples, verify)
    if args.hard_choice == "score" and not table.has_scores:
        raise usage(
            "--hard-choice score needs scores, which HELIP's files do not have",
            where=str(args.hard_dict_dir),
            fix="--hard-choice rank",
        )
    return HardPairBatchSampler(
        len(samples),
        table,
        hard_per_target=args.hard_per_target,
        hard_topk=args.hard_topk,
        hard_skip=args.hard_skip,
        hard_choice=args.hard_choice,
        hard_schedule=args.hard_schedule,
        empty_rows=args.empty_rows,
        **_without(base, table.rejected),
    )


def _topical(args: argparse.Namespace, samples: Samples, base: Base, verify: bool) -> BatchSampler:
    embeddings = open_stored_embeddings(args.batching_embeddings, samples, verify)
    count = args.topical_clusters
    if not 1 <= count <= len(embeddings.rows):
        raise usage(
            f"--topical-clusters must lie between 1 and the number of embeddings, {len(embeddings.rows)}; not {count}"
        )
    recipe = {
        "text": _identity(embeddings, args.batching_embeddings),
        "clusters": count,
        "seed": args.seed,
        "version": 1,
    }
    found = made_once(
        Path(args.batching_embeddings),
        "clusters",
        recipe,
        lambda: cluster(embeddings.text, count, args.seed),
    )
    clusters = np.full(len(samples), -1, np.int32)
    clusters[embeddings.rows] = found
    return TopicalBatchSampler(
        len(samples),
        clusters,
        p_topical=args.p_topical,
        round_robin=args.topical_round_robin,
        **base,
    )


def _m_per_class(
    args: argparse.Namespace, samples: Samples, base: Base, verify: bool
) -> BatchSampler:
    return MPerClassBatchSampler(len(samples), samples.groups, m_per_class=args.m_per_class, **base)


def _class_neighbours(
    args: argparse.Namespace, samples: Samples, base: Base, verify: bool
) -> BatchSampler:
    classes, k = compact(samples.groups), args.class_neighbours
    table = open_table(args, samples, verify) if args.hard_dict_dir else None
    if table is None:
        found = _nearest_stored_classes(args, samples, classes, base["exclude"], verify)
    else:
        found = classes_of_hard_pairs(table, classes, k, exclude=base["exclude"])
    sampler = ClassNeighbourBatchSampler(
        len(samples), classes, found, m_per_class=args.m_per_class, class_neighbours=k, **base
    )
    sampler.table = table
    return sampler


def _nearest_stored_classes(
    args: argparse.Namespace,
    samples: Samples,
    classes: np.ndarray,
    exclude: np.ndarray,
    verify: bool,
) -> np.ndarray:
    """(C, k) nearest classes by stored embeddings of what the loss is about; -1 for classes of which no usable row was embedded."""
    embeddings = open_stored_embeddings(args.batching_embeddings, samples, verify)
    usable = ~np.isin(embeddings.rows, exclude)
    image, text = np.asarray(embeddings.image)[usable], np.asarray(embeddings.text)[usable]
    if args.embed in ("image", "text"):  # encoders of one half each need not have one width
        rows = image if args.embed == "image" else text
    elif image.shape != text.shape:
        raise usage(
            "image and text embeddings are of different spaces",
            where=args.batching_embeddings,
            fix="--embed image or text, or one CLIP model",
        )
    else:
        rows = pooled(image, text, args.im_wt if args.embed == "pooled" else 0.5)
    there, place = np.unique(classes[embeddings.rows[usable]], return_inverse=True)
    found = nearest_classes(rows, place, args.class_neighbours)
    neighbours = np.full((int(classes.max()) + 1, args.class_neighbours), -1, np.int64)
    neighbours[there, : found.shape[1]] = there[found]
    return neighbours


def _neighbourhood(
    args: argparse.Namespace, samples: Samples, base: Base, verify: bool
) -> BatchSampler:
    table = open_table(args, samples, verify)
    kind, size = args.neighbourhood, args.neighbourhood_size
    recipe = {
        "table": table.manifest["sha256"],
        "kind": kind,
        "first": args.hard_skip,
        "depth": args.hard_topk,
        "version": 1,
    }
    if kind == "communities":
        recipe["size"] = size

    def line() -> np.ndarray:
        logging.info(
            f"Ordering {len(table.lengths)} rows by their hard pairs ({kind}); done once for this table."
        )
        graph = hard_pair_graph(table, args.hard_skip, args.hard_topk)
        return bandwidth_order(graph) if kind == "rcm" else community_order(graph, size)

    place = Path(args.hard_dict_dir)
    sampler = NeighbourhoodBatchSampler(
        len(samples),
        lambda: made_once(
            place if place.is_dir() else place.parent, "neighbourhoods", recipe, line
        ),
        size=size,
        shift=kind == "rcm",
        **_without(base, table.rejected),
    )
    sampler.table = table
    return sampler


BATCHING: dict[str, Callable[[argparse.Namespace, Samples, Base, bool], BatchSampler]] = {
    "random": _random,
    "hard-pairs": _hard_pairs,
    "topical": _topical,
    "m-per-class": _m_per_class,
    "class-neighbours": _class_neighbours,
    "neighbourhood": _neighbourhood,
}


def open_table(args: argparse.Namespace, samples: Samples, verify: bool = False) -> HardPairTable:
    """The hard pairs that ``--hard-dict-dir`` names, checked against the data.

    Raises:
        UserError: exit 2 when there are none, exit 4 for a table of other data or a damaged one.
    """
    renumber = rows_by_old_number(args.url_index, samples.urls) if args.url_index else None
    table = open_hard_pairs(
        args.hard_dict_dir, num_samples=len(samples), verify=verify, renumber=renumber
    )
    if table.fingerprint is None:
        logging.warning(
            f"Nothing ties {args.hard_dict_dir} to {args.train_data}: it has no fingerprint. Rows are taken as they are numbered"
            f"{f', by {args.url_index}' if args.url_index else ''}."
        )
    check_same_dataset(
        samples.fingerprint,
        table.fingerprint,
        ours_name=str(args.train_data),
        theirs_name=str(args.hard_dict_dir),
    )
    return table


def open_stored_embeddings(folder: str, samples: Samples, verify: bool = False) -> Embeddings:
    """Stored embeddings, checked against the data.

    Raises:
        UserError: exit 3 when there are none, exit 4 for those of other data or damaged ones.
    """
    embeddings = open_embeddings(folder, verify=verify)
    if embeddings.num_samples != len(samples):
        raise mismatch(
            f"the embeddings are of {embeddings.num_samples} rows, the data has {len(samples)}",
            where=folder,
            fix="embed this data: python -m mining.embed",
        )
    check_same_dataset(
        samples.fingerprint, embeddings.fingerprint, ours_name=samples.source, theirs_name=folder
    )
    return embeddings


def _identity(embeddings: Embeddings, folder: str) -> str:
    """What tells stored embeddings apart: their manifest's hash; of a foreign folder the sizes and times of its files."""
    if "sha256" in embeddings.manifest:
        return embeddings.manifest["sha256"]
    return repr(
        [
            (path.name, path.stat().st_size, path.stat().st_mtime_ns)
            for path in sorted(Path(folder).glob("text_emb/*.npy"))
        ]
    )


def _without(base: Base, rejected: dict[int, str]) -> Base:
    return {**base, "exclude": np.union1d(base["exclude"], np.array(sorted(rejected), np.int64))}
