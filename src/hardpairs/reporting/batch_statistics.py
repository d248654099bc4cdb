"""What the batches of an epoch hold: how often each row is seen, how alike the rows of a batch are, which known positives meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hardpairs.batches import HARD_PAIR, RANDOM, TARGET, BatchSampler
from hardpairs.core.vectors import unit_rows
from hardpairs.data.embeddings import Embeddings


@dataclass(frozen=True)
class GlobalBatch:
    """rows (B,) int64 and roles (B,) uint8 of a global batch, accumulated micro-batches together."""

    rows: np.ndarray
    roles: np.ndarray


@dataclass(frozen=True)
class Seen:
    """How often rows are seen in an epoch.

    Attributes:
        targets, all: {times: rows seen so often} as targets, and in any role.
        roles: places by role: targets, mined partners, random rows.
        left_out: rows that are in no batch on purpose.
    """

    targets: dict[int, int]
    all: dict[int, int]
    roles: dict[str, int]
    left_out: int


@dataclass(frozen=True)
class Alike:
    """Means over batches.

    Attributes:
        mean, top: cosine of two rows of a batch; of a row and the one most like it. ``None`` without embeddings.
        collisions: pairs of a batch that are known positives: same group or same caption.
        batches_with: share of the batches with such a pair.
    """

    mean: float | None
    top: float | None
    collisions: float
    batches_with: float


def global_batches(
    sampler: BatchSampler, epoch: int, steps: np.ndarray | None = None
) -> Iterator[GlobalBatch]:
    """The global batches of an epoch (or some of them), of a sampler that stands for all ranks."""
    for step in range(sampler.steps) if steps is None else steps.tolist():
        plans = [
            sampler.plan(step * sampler.accumulate + micro, epoch)
            for micro in range(sampler.accumulate)
        ]
        yield GlobalBatch(
            np.concatenate([plan.rows for plan in plans]),
            np.concatenate([plan.roles for plan in plans]),
        )


def seen(sampler: BatchSampler, epoch: int) -> Seen:
    """Counts over a whole epoch."""
    as_target, in_all = (
        np.zeros(sampler.num_samples, np.int64),
        np.zeros(sampler.num_samples, np.int64),
    )
    roles = np.zeros(3, np.int64)
    for batch in global_batches(sampler, epoch):
        as_target[batch.rows[batch.roles == TARGET]] += 1  # no row stands twice in a batch
        in_all[batch.rows] += 1
        roles += np.bincount(batch.roles, minlength=3)
    kept = sampler.rows.has(np.arange(sampler.num_samples))
    names = {"targets": TARGET, "mined partners": HARD_PAIR, "random rows": RANDOM}
    return Seen(
        _times(as_target[kept]),
        _times(in_all[kept]),
        {name: int(roles[role]) for name, role in names.items()},
        int((~kept).sum()),
    )


def _times(counts: np.ndarray) -> dict[int, int]:
    return {times: int(rows) for times, rows in enumerate(np.bincount(counts)) if rows}


def alike(
    sampler: BatchSampler,
    epoch: int,
    positives: np.ndarray,
    embeddings: Embeddings | None,
    most: int = 200,
) -> Alike:
    """Means over at most ``most`` batches, spread over the epoch.

    The cosine of two rows is the mean of that of their images and that of their texts. Known positives count, as they do in a batch.

    Args:
        positives: (N, C) ids; rows that share one in any column are known positives.
    """
    steps = np.unique(np.linspace(0, sampler.steps - 1, min(most, sampler.steps)).astype(np.int64))
    batches = list(global_batches(sampler, epoch, steps))
    collisions = np.array([_collisions(positives[batch.rows]) for batch in batches])
    if embeddings is None:
        return Alike(None, None, float(collisions.mean()), float((collisions > 0).mean()))
    found = np.array([similarities(embeddings, batch.rows) for batch in batches])
    return Alike(
        *np.nanmean(found, axis=0).tolist(),
        float(collisions.mean()),
        float((collisions > 0).mean()),
    )


def _collisions(positives: np.ndarray) -> int:
    """Pairs of rows that are equal in a column."""
    equal = (positives[:, None] == positives[None]).any(axis=-1)
    return int(np.triu(equal, 1).sum())


def similarities(embeddings: Embeddings, rows: np.ndarray) -> tuple[float, float]:
    """(mean off the diagonal, mean of each row's largest off the diagonal) among those rows that have embeddings; NaN for less than two."""
    place = np.searchsorted(embeddings.rows, rows)
    place = np.sort(place[embeddings.rows[np.minimum(place, len(embeddings.rows) - 1)] == rows])
    if len(place) < 2:
        return float("nan"), float("nan")
    images, texts = unit_rows(embeddings.image[place]), unit_rows(embeddings.text[place])
    cosine = (images @ images.T + texts @ texts.T) / 2
    np.fill_diagonal(cosine, -np.inf)
    top = cosine.max(axis=1).mean()
    np.fill_diagonal(cosine, 0)
    return float(cosine.sum() / (len(place) * (len(place) - 1))), float(top)
