"""The training table's hard pairs, and the batches that a run drew from them."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardpairs.batches import HARD_PAIR, TARGET, BatchSampler
from hardpairs.data.hard_pairs import HardPairTable, open_hard_pairs
from hardpairs.data.manifest import check_same_dataset
from hardpairs.data.samples import Samples
from hardpairs.evaluating.runs import Run
from hardpairs.pages.pictures import Album, Picture
from hardpairs.reporting.examples import draw

ANCHORS = 6
PARTNERS = 5
LOOKALIKES = 3
LOOKALIKE_SCORE = 0.9
"""Score from which a pair is shown as a possible duplicate: both similarities are then above .9."""

SHOWN_ROWS = 24
"""Rows of a batch that are drawn."""


@dataclass(frozen=True)
class Partner:
    """A hard pair of an anchor: its place in the list from 1, and its score."""

    picture: Picture
    place: int
    score: float


@dataclass(frozen=True)
class Anchor:
    picture: Picture
    partners: list[Partner]


@dataclass(frozen=True)
class Drawn:
    """The first rows of a batch, in groups of a target and its partners (random batches: groups of one).

    Attributes:
        groups: pictures with whether each was mined for the first of its group.
        size: rows of the whole global batch.
        mined_share: of the partners, how many come from their target's list; ``None`` without partners.
        own_partners: mean over the batch's rows of how many of a row's own hard pairs are in it too.
    """

    groups: list[list[tuple[Picture, bool]]]
    size: int
    mined_share: float | None
    own_partners: float


def open_training(run: Run) -> tuple[Samples, HardPairTable | None]:
    """The data a run was trained on, and its hard pairs where it used some.

    Raises:
        UserError: exit 2 or 3 when they are not there any more, exit 4 when they do not belong together.
    """
    from hardpairs.training.data import open_training_samples  # imports torch
    from hardpairs.training.flags import our_defaults

    samples = open_training_samples(
        Namespace(**{**our_defaults(), **run.params})
    )  # OpenCLIP alone has no flags of ours
    place = run.params.get("hard_dict_dir")
    table = open_hard_pairs(place, num_samples=len(samples)) if place else None
    if table is not None:
        check_same_dataset(
            samples.fingerprint,
            table.fingerprint,
            ours_name=str(run.params["train_data"]),
            theirs_name=str(place),
        )
    return samples, table


def statistics(table: HardPairTable) -> dict[str, Any]:
    """Mining's own numbers of a table."""
    from hardpairs.mining.mine import statistics as of_table  # imports torch

    return of_table(table)


def anchors(table: HardPairTable, album: Album) -> list[Anchor]:
    """A few rows drawn with a fixed seed, each with its hardest partners of different groups."""
    rows = np.flatnonzero(np.asarray(table.lengths) > 0)
    return [
        _anchor(table, album, row, PARTNERS) for row in draw(rows, album.samples.groups, ANCHORS)
    ]


def lookalikes(table: HardPairTable, album: Album) -> list[Anchor]:
    """The pairs of groups with the highest scores from ``LOOKALIKE_SCORE`` on, each with its one partner; empty when scores are unknown."""
    if not table.has_scores or not table.indices.shape[1]:
        return []
    top = np.asarray(table.scores[:, 0])
    found: dict[frozenset[int], Anchor] = {}
    for row in np.argsort(-top, kind="stable").tolist():
        if top[row] < LOOKALIKE_SCORE or len(found) == LOOKALIKES:
            break
        pair = frozenset(
            (album.samples.group(row), album.samples.group(int(table.indices[row, 0])))
        )
        if pair not in found:
            found[pair] = _anchor(table, album, row, 1)
    return list(found.values())


def _anchor(table: HardPairTable, album: Album, row: int, count: int) -> Anchor:
    partners: list[Partner] = []
    seen = {album.samples.group(row)}
    for place, partner in enumerate(table.indices[row, : table.lengths[row]].tolist()):
        if len(partners) < count and album.samples.group(partner) not in seen:
            seen.add(album.samples.group(partner))
            partners.append(
                Partner(album.picture(partner), place + 1, float(table.scores[row, place]))
            )
    return Anchor(album.picture(row), partners)


def batches(run: Run, table: HardPairTable, album: Album) -> tuple[Drawn, Drawn]:
    """The first global batch of a run's first epoch, and what random batching would have drawn with the same seed."""
    from hardpairs.training.data import make_sampler  # imports torch
    from hardpairs.training.flags import our_defaults

    world = int(run.params.get("world_size") or 1)
    # A global batch does not depend on how many ranks share it: one rank that holds all of it is the same batch.
    whole = {**our_defaults(), **run.params, "batch_size": run.params["batch_size"] * world}
    ours = make_sampler(Namespace(**whole), album.samples, rank=0, world_size=1)
    theirs = make_sampler(
        Namespace(**{**whole, "batching": "random"}), album.samples, rank=0, world_size=1
    )
    depth = int(run.params["hard_topk"])
    return _drawn(theirs, table, album, depth), _drawn(ours, table, album, depth)


def _drawn(sampler: BatchSampler, table: HardPairTable, album: Album, depth: int) -> Drawn:
    plans = [sampler.plan(micro, 0) for micro in range(sampler.accumulate)]
    rows, roles = (
        np.concatenate([plan.rows for plan in plans]),
        np.concatenate([plan.roles for plan in plans]),
    )
    partners = roles[roles != TARGET]
    size = sampler.group_size
    shown = max(SHOWN_ROWS // size, 1) * size
    pictures = [
        (album.picture(row), role == HARD_PAIR)
        for row, role in zip(rows[:shown].tolist(), roles[:shown].tolist(), strict=True)
    ]
    in_batch = np.isin(table.indices[rows, :depth], rows)  # padding is -1, which is no row
    return Drawn(
        [pictures[start : start + size] for start in range(0, len(pictures), size)],
        len(rows),
        float((partners == HARD_PAIR).mean()) if len(partners) else None,
        float(in_batch.sum(axis=1).mean()),
    )
