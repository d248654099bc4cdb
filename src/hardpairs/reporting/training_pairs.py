"""Show the hard pairs that a run was trained with, and the batches drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hardpairs.batches import HARD_PAIR, TARGET, BatchSampler
from hardpairs.data.hard_pairs import HardPairTable, open_hard_pairs
from hardpairs.data.manifest import check_same_dataset
from hardpairs.data.samples import Samples
from hardpairs.evaluating.runs import Run
from hardpairs.mining.pair_statistics import summary
from hardpairs.pages.album import Album, ShownImage
from hardpairs.pages.charts import histogram
from hardpairs.reporting.examples import draw
from hardpairs.reporting.run_batches import (
    DrawnBatch,
    batch_makers,
    draw_batches,
    global_batches,
    open_run_samples,
)

TARGETS = 6
"""Rows that are drawn with their hard pairs."""

HARD_PAIRS = 5
"""Hard pairs of a row that are drawn."""

LOOKALIKES = 3
LOOKALIKE_SCORE = 0.9
"""Score from which a pair may be a duplicate: both similarities are then above .9."""

SHOWN_ROWS = 24
"""Rows of a batch that are drawn."""


@dataclass(frozen=True)
class HardPair:
    """A hard pair of a target: its rank in the list from 1, and its score."""

    image: ShownImage
    rank: int
    score: float


@dataclass(frozen=True)
class Target:
    """A row and some of its hard pairs."""

    image: ShownImage
    hard_pairs: list[HardPair]


@dataclass(frozen=True)
class RunBatch:
    """A global batch of a run.

    Attributes:
        drawn: Its first rows.
        hard_share: Share of the rows that are not targets that come from their target's list;
            ``None`` when all rows are targets.
        own_hard_pairs: Number of a row's own hard pairs that are in the batch too; mean over its
            rows.
    """

    drawn: DrawnBatch
    hard_share: float | None
    own_hard_pairs: float


@dataclass(frozen=True)
class TrainingPairs:
    """Everything that the page shows of a training table.

    Attributes:
        histogram: Bars of the scores of each row's hardest pair; empty when scores are unknown.
        random_batch: The first batch of the run if its batches were random.
        own_batch: The first batch of the run.
        depth: Hard pairs of each list that training used.
    """

    statistics: dict[str, Any]
    options: dict[str, Any]
    histogram: list[tuple[float, str]]
    targets: list[Target]
    lookalikes: list[Target]
    random_batch: RunBatch
    own_batch: RunBatch
    depth: int


def open_training(run: Run) -> tuple[Samples, HardPairTable | None]:
    """Open the data that a run was trained on, and its hard pairs where it used some.

    Raises:
        UserError: Exit 2 or 3 when they are not there any more, exit 4 when they do not belong
            together.
    """
    samples = open_run_samples(run.params)
    path = run.params.get("hard_dict_dir")
    if not path:
        return samples, None
    table = open_hard_pairs(path, num_samples=len(samples))
    check_same_dataset(
        samples.fingerprint,
        table.fingerprint,
        ours_name=str(run.params["train_data"]),
        theirs_name=str(path),
    )
    return samples, table


def training_pairs(run: Run, samples: Samples, table: HardPairTable) -> TrainingPairs:
    """Return what the page shows of the hard pairs that a run was trained with."""
    album = Album(samples)
    scores = np.asarray(table.scores[:, 0])[np.asarray(table.lengths) > 0]
    random_batch, own_batch = first_batches(run, table, album)
    return TrainingPairs(
        statistics=summary(table),
        options=table.manifest.get("options") or {},
        histogram=histogram(scores) if table.has_scores and len(scores) else [],
        targets=targets(table, album),
        lookalikes=lookalikes(table, album),
        random_batch=random_batch,
        own_batch=own_batch,
        depth=int(run.params["hard_topk"]),
    )


def targets(table: HardPairTable, album: Album) -> list[Target]:
    """Return a few rows drawn with a fixed seed, with their hardest pairs of different groups."""
    rows = np.flatnonzero(np.asarray(table.lengths) > 0)
    return [
        _target(table, album, row, HARD_PAIRS) for row in draw(rows, album.samples.groups, TARGETS)
    ]


def lookalikes(table: HardPairTable, album: Album) -> list[Target]:
    """Return the pairs of groups with the highest scores from ``LOOKALIKE_SCORE`` on.

    Each is a row with its hardest pair. Empty when scores are unknown.
    """
    if not table.has_scores or not table.indices.shape[1]:
        return []
    hardest = np.asarray(table.scores[:, 0])
    by_groups: dict[frozenset[int], Target] = {}
    for row in np.argsort(-hardest, kind="stable").tolist():
        if hardest[row] < LOOKALIKE_SCORE or len(by_groups) == LOOKALIKES:
            break
        groups = frozenset(album.samples.group(each) for each in (row, int(table.indices[row, 0])))
        if groups not in by_groups:
            by_groups[groups] = _target(table, album, row, 1)
    return list(by_groups.values())


def _target(table: HardPairTable, album: Album, row: int, count: int) -> Target:
    """Return a row with its hardest pairs, no two of one group."""
    hard_pairs: list[HardPair] = []
    groups = {album.samples.group(row)}
    for position, other in enumerate(table.indices[row, : table.lengths[row]].tolist()):
        group = album.samples.group(other)
        if len(hard_pairs) < count and group not in groups:
            groups.add(group)
            score = float(table.scores[row, position])
            hard_pairs.append(HardPair(album.image(other), position + 1, score))
    return Target(album.image(row), hard_pairs)


def first_batches(run: Run, table: HardPairTable, album: Album) -> tuple[RunBatch, RunBatch]:
    """Return the first global batch of a run: of random batches with its seed, and its own."""
    processes = int(run.params.get("world_size") or 1)
    own, random = batch_makers(run.params, album.samples, processes=processes)
    depth = int(run.params["hard_topk"])
    return _first_batch(random, table, album, depth), _first_batch(own, table, album, depth)


def _first_batch(maker: BatchSampler, table: HardPairTable, album: Album, depth: int) -> RunBatch:
    (batch,) = global_batches(maker, 0, [0])
    (drawn,) = draw_batches(maker, album, table, epoch=0, steps=[0], most_rows=SHOWN_ROWS)
    others = batch.roles[batch.roles != TARGET]
    # The padding of a list is -1, which is not a row.
    in_batch = np.isin(table.indices[batch.rows, :depth], batch.rows)
    return RunBatch(
        drawn,
        float((others == HARD_PAIR).mean()) if len(others) else None,
        float(in_batch.sum(axis=1).mean()),
    )
