"""Numbers of a hard pair table, its overlap with another, and pairs that may be false negatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.npy_files import row_blocks
from hardpairs.data.samples import Samples
from hardpairs.data.words import split_words

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
CHECKED_ROWS = 20_000
"""Rows whose hardest pairs are compared by caption.

In a larger table, half of them are those with the highest scores and half are random.
"""
CHECKED_RANKS = 10
"""Hard pairs of a row that are compared by caption."""
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Statistics:
    """Numbers of a table.

    Attributes:
        rows: N.
        pairs: Pairs that are listed in all.
        empty: Share of the rows with an empty list.
        hardest: QUANTILES of each list's first score; ``None`` where scores are unknown.
        all: QUANTILES of all scores; ``None`` where scores are unknown.
        most_listed: Lists that hold the row which is in most lists.
        most_listed_row: That row.
        never_listed: Share of the rows that are in no list.
        hub_share: Share of all listed pairs that lead to the most listed hundredth of the rows (.01
            if all were listed equally often).
    """

    rows: int
    pairs: int
    empty: float
    hardest: tuple[float, ...] | None
    all: tuple[float, ...] | None
    most_listed: int
    most_listed_row: int
    never_listed: float
    hub_share: float


def statistics(table: HardPairTable) -> Statistics:
    """Return the numbers of a table."""
    lengths = np.asarray(table.lengths, np.int64)
    listed = np.zeros(len(lengths), np.int64)
    for start in range(0, len(lengths), ROWS_AT_ONCE):
        block = table.indices[start : start + ROWS_AT_ONCE]
        listed += np.bincount(block[block >= 0], minlength=len(lengths))
    hardest = scores = None
    if table.has_scores and lengths.any():
        starts = range(0, len(lengths), ROWS_AT_ONCE)
        scores = np.concatenate([_listed_scores(table, start) for start in starts])
        hardest = np.asarray(table.scores[:, 0])[lengths > 0]
    descending = np.sort(listed)[::-1]
    return Statistics(
        rows=len(lengths),
        pairs=int(lengths.sum()),
        empty=float((lengths == 0).mean()),
        hardest=None if hardest is None else _quantiles(hardest),
        all=None if scores is None else _quantiles(scores),
        most_listed=int(descending[0]),
        most_listed_row=int(np.argmax(listed)),
        never_listed=float((listed == 0).mean()),
        hub_share=float(descending[: max(len(listed) // 100, 1)].sum() / max(listed.sum(), 1)),
    )


def summary(table: HardPairTable) -> dict[str, float]:
    """Return the few numbers that tell a good table from a bad one.

    The table need not fit into memory; two numbers of each row must.
    """
    lengths = np.asarray(table.lengths)
    listed, firsts = np.zeros(len(lengths), np.int32), []
    for _, (indices, scores) in row_blocks(table.indices, table.scores):
        np.add.at(listed, indices[indices >= 0], np.int32(1))
        firsts.append(scores[indices[:, 0] >= 0, 0])
    hardest = np.concatenate(firsts)
    return {
        "rows": len(lengths),
        "rows_with_pairs": len(hardest),
        "pairs_per_row": float(lengths.mean()),
        "hardest_score_median": float(np.median(hardest)) if len(hardest) else 0.0,
        "most_listed": int(listed.max(initial=0)),
    }


def _listed_scores(table: HardPairTable, start: int) -> np.ndarray:
    rows = slice(start, start + ROWS_AT_ONCE)
    block = table.scores[rows]
    return block[np.arange(block.shape[1]) < np.asarray(table.lengths[rows])[:, None]]


def _quantiles(values: np.ndarray) -> tuple[float, ...]:
    return tuple(np.quantile(values, QUANTILES).tolist())


def overlap(ours: HardPairTable, theirs: HardPairTable) -> float:
    """Return the share of the pairs of ``ours`` that ``theirs`` lists, too."""
    common = pairs = 0
    count = len(ours.lengths)
    for start in range(0, count, ROWS_AT_ONCE):
        own, others = (_keys(table, start, count) for table in (ours, theirs))
        common += int(np.isin(own, others).sum())
        pairs += len(own)
    return common / max(pairs, 1)


def _keys(table: HardPairTable, start: int, count: int) -> np.ndarray:
    block = np.asarray(table.indices[start : start + ROWS_AT_ONCE], np.int64)
    return (np.arange(start, start + len(block))[:, None] * count + block)[block >= 0]


@dataclass(frozen=True)
class Suspicion:
    """A pair that may be a false negative: two images of one thing.

    Attributes:
        row: The target.
        rank: Rank of the hard pair in its list, from 0.
        likeness: The larger of the score and ``caption_likeness``.
        reason: What one should look at.
    """

    row: int
    rank: int
    likeness: float
    reason: str


def words(caption: str) -> frozenset[str]:
    """Words that say what is seen: lower case, no signs, no plural s, no articles.

    Example:
        >>> sorted(words("The red-brick houses, at night."))
        ['at', 'brick', 'house', 'night', 'red']
    """
    return frozenset(
        word[:-1] if len(word) > 3 and word.endswith("s") else word for word in split_words(caption)
    ) - {"a", "an", "the"}


def caption_likeness(first: str, second: str) -> float:
    """Return words in common over words in either (Jaccard), from 0 to 1.

    Captions without words give 0.
    """
    ours, theirs = words(first), words(second)
    return len(ours & theirs) / max(len(ours | theirs), 1)


def suspicions(table: HardPairTable, samples: Samples, *, seed: int = 0) -> list[Suspicion]:
    """Return the most suspicious hard pair of each checked row.

    Args:
        table: Hard pairs.
        samples: The data set, for the captions.
        seed: Seed of the rows that are checked in a large table.

    Returns:
        Suspicions, the most suspicious first, ties by row.
    """
    result = []
    for row in _checked(table, seed).tolist():
        others = table.indices[row, : min(int(table.lengths[row]), CHECKED_RANKS)].tolist()
        own = samples.caption(row)
        captions = [caption_likeness(own, samples.caption(other)) for other in others]
        scores = [0.0] * len(others)
        if table.has_scores:
            scores = np.asarray(table.scores[row, : len(others)]).tolist()
        likeness = [max(pair) for pair in zip(captions, scores, strict=True)]
        rank = int(np.argmax(likeness))
        reason = _reason(captions[rank], scores[rank])
        result.append(Suspicion(row, rank, likeness[rank], reason))
    return sorted(result, key=lambda suspicion: (-suspicion.likeness, suspicion.row))


def _checked(table: HardPairTable, seed: int) -> np.ndarray:
    rows = np.flatnonzero(np.asarray(table.lengths) > 0)
    if len(rows) <= CHECKED_ROWS:
        return rows
    half = CHECKED_ROWS // 2
    hardest = rows[np.argsort(-np.asarray(table.scores[:, 0])[rows], kind="stable")[:half]]
    return np.union1d(hardest, np.random.default_rng(seed).choice(rows, half, replace=False))


def _reason(caption: float, score: float) -> str:
    if caption == 1:
        return "the captions have the same words"
    if caption >= 0.7:
        return "the captions say almost the same"
    return "the score is high" if score >= caption else "the captions share words"
