"""What a hard pair table holds, in numbers; how tables of one dataset overlap; and which pairs are likely no negatives at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.samples import Samples
from hardpairs.data.words import split_words

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
CHECKED_ROWS = 20_000
"""Rows whose hardest pairs are compared by caption: in a larger table half of them are those with the highest scores, half are random."""
CHECKED_PARTNERS = 10
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Statistics:
    """Numbers of a table.

    Attributes:
        rows, pairs: N, and how many pairs are listed in all.
        empty: share of the rows with an empty list.
        hardest, all: QUANTILES of each list's first score, and of all scores; ``None`` where scores are unknown.
        most_listed, most_listed_row: the row in most lists, and in how many it is.
        never_listed: share of the rows that are in no list.
        hub_share: share of all places taken by the most listed hundredth of the rows (.01 if all were listed equally often).
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
    lengths = np.asarray(table.lengths, np.int64)
    listed = np.zeros(len(lengths), np.int64)
    for start in range(0, len(lengths), ROWS_AT_ONCE):
        block = table.indices[start : start + ROWS_AT_ONCE]
        listed += np.bincount(block[block >= 0], minlength=len(lengths))
    known = table.has_scores and lengths.any()
    real = (
        np.concatenate([_real(table, start) for start in range(0, len(lengths), ROWS_AT_ONCE)])
        if known
        else None
    )
    descending = np.sort(listed)[::-1]
    return Statistics(
        rows=len(lengths),
        pairs=int(lengths.sum()),
        empty=float((lengths == 0).mean()),
        hardest=_quantiles(np.asarray(table.scores[:, 0])[lengths > 0]) if known else None,
        all=_quantiles(real) if real is not None else None,
        most_listed=int(descending[0]),
        most_listed_row=int(np.argmax(listed)),
        never_listed=float((listed == 0).mean()),
        hub_share=float(descending[: max(len(listed) // 100, 1)].sum() / max(listed.sum(), 1)),
    )


def _real(table: HardPairTable, start: int) -> np.ndarray:
    block = table.scores[start : start + ROWS_AT_ONCE]
    return block[
        np.arange(block.shape[1]) < np.asarray(table.lengths[start : start + ROWS_AT_ONCE])[:, None]
    ]


def _quantiles(values: np.ndarray) -> tuple[float, ...]:
    return tuple(np.quantile(values, QUANTILES).tolist())


def overlap(ours: HardPairTable, theirs: HardPairTable) -> float:
    """Share of the pairs of ``ours`` that ``theirs`` lists, too."""
    common = pairs = 0
    count = len(ours.lengths)
    for start in range(0, count, ROWS_AT_ONCE):
        keys = [_keys(table, start, count) for table in (ours, theirs)]
        common += int(np.isin(*keys).sum())
        pairs += len(keys[0])
    return common / max(pairs, 1)


def _keys(table: HardPairTable, start: int, count: int) -> np.ndarray:
    block = np.asarray(table.indices[start : start + ROWS_AT_ONCE], np.int64)
    return (np.arange(start, start + len(block))[:, None] * count + block)[block >= 0]


@dataclass(frozen=True)
class Suspicion:
    """A pair that may be no negative: two of one thing.

    Attributes:
        row, place: the anchor, and the partner's place in its list, from 0.
        likeness: the larger of the score and ``caption_likeness``.
        reason: what one should look at.
    """

    row: int
    place: int
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
    """Words in common over words in either (Jaccard), from 0 to 1; 0 for captions without words."""
    ours, theirs = words(first), words(second)
    return len(ours & theirs) / max(len(ours | theirs), 1)


def suspicions(table: HardPairTable, samples: Samples, *, seed: int = 0) -> list[Suspicion]:
    """One suspicion for each checked row, of its most suspicious partner; most suspicious first, ties by row."""
    known = table.has_scores
    found = []
    for row in _checked(table, seed).tolist():
        partners = table.indices[row, : min(int(table.lengths[row]), CHECKED_PARTNERS)].tolist()
        captions = [
            caption_likeness(samples.caption(row), samples.caption(partner)) for partner in partners
        ]
        scores = (
            np.asarray(table.scores[row, : len(partners)]).tolist()
            if known
            else [0.0] * len(partners)
        )
        likeness = [max(pair) for pair in zip(captions, scores, strict=True)]
        place = int(np.argmax(likeness))
        found.append(
            Suspicion(row, place, likeness[place], _reason(captions[place], scores[place]))
        )
    return sorted(found, key=lambda suspicion: (-suspicion.likeness, suspicion.row))


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
