"""Count what the batches of an epoch hold: rows, similar rows, known positives that meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardpairs.batches import HARD_PAIR, RANDOM, TARGET, BatchSampler
from hardpairs.core.vectors import unit_rows
from hardpairs.data.embeddings import Embeddings
from hardpairs.reporting.run_batches import global_batches, spread_steps

MOST_BATCHES = 200
"""Batches over which similarities are averaged, at most."""

ROLES = {"targets": TARGET, "hard pairs": HARD_PAIR, "random rows": RANDOM}


@dataclass(frozen=True)
class Occurrences:
    """Counts of rows in the batches of an epoch.

    Attributes:
        as_target: {times: number of rows that occur so often as targets}.
        in_any_role: {times: number of rows that occur so often in any role}.
        roles: {role: number of rows of all batches that have it}.
        left_out: Rows that are in no batch on purpose.
    """

    as_target: dict[int, int]
    in_any_role: dict[int, int]
    roles: dict[str, int]
    left_out: int


@dataclass(frozen=True)
class Similarities:
    """Means over batches.

    Attributes:
        mean: Cosine similarity of two rows of a batch; ``None`` without embeddings.
        nearest: Cosine similarity of a row and the row of its batch most similar to it; ``None``
            without embeddings.
        collisions: Pairs of a batch that are known positives: same group or same caption.
        with_collision: Share of the batches with such a pair.
    """

    mean: float | None
    nearest: float | None
    collisions: float
    with_collision: float


def occurrences(maker: BatchSampler, epoch: int) -> Occurrences:
    """Count the rows of a whole epoch."""
    as_target = np.zeros(maker.num_samples, np.int64)
    in_any_role = np.zeros(maker.num_samples, np.int64)
    roles = np.zeros(3, np.int64)
    for batch in global_batches(maker, epoch):
        as_target[batch.rows[batch.roles == TARGET]] += 1  # no row is in a batch twice
        in_any_role[batch.rows] += 1
        roles += np.bincount(batch.roles, minlength=3)
    kept = maker.rows.has(np.arange(maker.num_samples))
    return Occurrences(
        _rows_by_times(as_target[kept]),
        _rows_by_times(in_any_role[kept]),
        {name: int(roles[role]) for name, role in ROLES.items()},
        int((~kept).sum()),
    )


def _rows_by_times(counts: np.ndarray) -> dict[int, int]:
    return {times: int(rows) for times, rows in enumerate(np.bincount(counts)) if rows}


def similarities(
    maker: BatchSampler, epoch: int, group_ids: np.ndarray, embeddings: Embeddings | None
) -> Similarities:
    """Return means over at most ``MOST_BATCHES`` batches, spread over the epoch.

    The similarity of two rows is the mean of that of their images and that of their texts. Known
    positives are included, as they are in a batch.

    Args:
        maker: A batch maker that stands for all ranks.
        epoch: Pass over the data, from 0.
        group_ids: (N, C) ids; rows that share one in any column are known positives.
        embeddings: Stored embeddings of the data; without them only known positives are counted.
    """
    batches = list(global_batches(maker, epoch, spread_steps(maker, MOST_BATCHES)))
    collisions = np.array([_collisions(group_ids[batch.rows]) for batch in batches])
    mean = nearest = None
    if embeddings is not None:
        values = [batch_similarities(embeddings, batch.rows) for batch in batches]
        mean, nearest = np.nanmean(np.array(values), axis=0).tolist()
    return Similarities(mean, nearest, float(collisions.mean()), float((collisions > 0).mean()))


def _collisions(group_ids: np.ndarray) -> int:
    """Return the number of pairs of rows that are equal in some column."""
    equal = (group_ids[:, None] == group_ids[None]).any(axis=-1)
    return int(np.triu(equal, 1).sum())


def batch_similarities(embeddings: Embeddings, rows: np.ndarray) -> tuple[float, float]:
    """Return the similarities of those rows of a batch that have embeddings.

    Returns:
        The mean cosine similarity of two rows, and the mean of each row's largest; NaN for fewer
        than two rows.
    """
    position = np.searchsorted(embeddings.rows, rows)
    last = len(embeddings.rows) - 1
    position = np.sort(position[embeddings.rows[np.minimum(position, last)] == rows])
    count = len(position)
    if count < 2:
        return float("nan"), float("nan")
    images, texts = unit_rows(embeddings.image[position]), unit_rows(embeddings.text[position])
    cosine = (images @ images.T + texts @ texts.T) / 2
    np.fill_diagonal(cosine, -np.inf)
    nearest = cosine.max(axis=1).mean()
    np.fill_diagonal(cosine, 0)
    return float(cosine.sum() / (count * (count - 1))), float(nearest)
