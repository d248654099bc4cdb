"""Measure what an approximate search missed, on a sample of rows that is searched exactly.

The sample follows from the seed, its exact lists from nothing but the rows, and the interval from
both, so the figures are the same on any number of processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hardpairs.core.progress import Progress
from hardpairs.core.ranks import Ranks
from hardpairs.mining.engine.kernel import NO_KEY, Decided
from hardpairs.mining.pools import Pool

SAMPLE = 200
"""Rows that recall is measured on, at least."""
CANDIDATES_AT_ONCE = 65_536
"""Rows that the sample is compared with at once: what bounds the memory of the measurement."""
SAMPLE_STREAM, CHOICE_STREAM = 1, 3
"""Tell the draws of two samples from each other and from those of pools, which have the same seed.

Recall is measured on the first one; by the second one a search chooses what it compares.
"""
Z = 1.959964
"""Standard deviations of a normal distribution on either side that hold 95 % of it."""


@dataclass(frozen=True)
class Share:
    """An estimated share, and its 95 % interval.

    Attributes:
        value: The share of the sample.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float

    def text(self) -> str:
        """Return the share in words."""
        return f"{self.value:.4f} (95 % interval {self.low:.4f} to {self.high:.4f})"


@dataclass(frozen=True)
class Recall:
    """Share of the exact lists that an approximate search found.

    Attributes:
        rows: Rows of the sample.
        pairs: Share of the exact lists' pairs that are listed: recall at K.
        score: Summed score of the lists to that of the exact ones.
    """

    rows: int
    pairs: Share
    score: Share

    def for_manifest(self) -> dict[str, Any]:
        """Return the figures as a manifest holds them."""
        return asdict(self)

    def text(self) -> str:
        """Return the figures in one line."""
        return (
            f"recall on {self.rows} rows that were searched exactly: {self.pairs.text()} of the "
            f"pairs, {self.score.text()} of the summed score"
        )


@dataclass(frozen=True)
class ExactLists:
    """Exact lists of a sample of rows.

    Attributes:
        rows: (S,) int64 row numbers.
        indices: (S, depth) int64, hardest first, padded with -1.
        scores: (S, depth) float32, padded with 0.
        population: Rows that the sample was drawn from.
    """

    rows: np.ndarray
    indices: np.ndarray
    scores: np.ndarray
    population: int

    def of(self, rows: np.ndarray) -> ExactLists:
        """Return the lists of some of the rows, as a sample of its own."""
        part = np.isin(self.rows, rows)
        return ExactLists(self.rows[part], self.indices[part], self.scores[part], self.population)

    def recall(self, indices: np.ndarray, scores: np.ndarray, listed: slice) -> Recall | None:
        """Return what lists have of the exact ones; ``None`` where these are empty.

        Args:
            indices: (N, K) int64 lists of all rows.
            scores: (N, K) float32.
            listed: Ranks of the exact lists that are listed.
        """
        exact, best = self.indices[:, listed], self.scores[:, listed]
        wanted = (exact >= 0).sum(axis=1)
        if not wanted.any():
            return None
        own = indices[self.rows]
        found = [np.isin(row[row >= 0], of).sum() for row, of in zip(exact, own, strict=True)]
        return Recall(
            len(self.rows),
            estimated_share(np.array(found), wanted, self.population),
            estimated_share(_sums(scores[self.rows]), _sums(best), self.population),
        )


def _sums(scores: np.ndarray) -> np.ndarray:
    """Return the sum of each row, which is the same on every machine."""
    return np.array([math.fsum(row) for row in scores.tolist()])


def estimated_share(parts: np.ndarray, wholes: np.ndarray, population: int) -> Share:
    """Return sum(parts) / sum(wholes) as an estimate of that share over all rows.

    The interval is Wilson's for the number of independent observations that would have the variance
    between the rows, since the pairs of one row are found or missed together. The variance is taken
    two of its standard errors above the one found: few rows tell little of it. Each row counts as
    one observation at least.

    The variance is that of a ratio estimate (Cochran, Sampling Techniques, 1977, chapter 6), the
    interval Wilson's (JASA 22, 1927). To put the effective number of observations into an interval
    for independent ones is the way of Korn and Graubard (Survey Methodology 24, 1998).

    Args:
        parts: (S,) numbers from 0 to those of ``wholes``, one for each row of the sample.
        wholes: (S,) numbers, not all 0.
        population: Rows that the sample was drawn from. Of all of them nothing is estimated.
    """
    whole, rows = math.fsum(wholes.tolist()), len(wholes)
    share = min(math.fsum(parts.tolist()) / whole, 1.0)
    if rows >= population:
        return Share(share, share, share)
    count = 1 / math.fsum(weight**2 for weight in (wholes / whole).tolist())
    spread = share * (1 - share)
    if spread > 0:
        squares = [distance**2 for distance in ((parts - share * wholes) / whole).tolist()]
        mean = math.fsum(squares) / rows
        error = math.sqrt(math.fsum((square - mean) ** 2 for square in squares)) / rows
        variance = rows * (mean + 2 * error)
        count = max(count, spread / max(variance, spread * 1e-12))
    return Share(share, *_wilson(share, count))


def _wilson(share: float, count: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of ``count`` independent observations."""
    center = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    return max(0.0, min(share, center - half)), min(1.0, max(share, center + half))


def sample_size(target: float) -> float:
    """Return how many rows a sample needs to tell whether recall is at least ``target``.

    A recall halfway between the target and 1 must have its whole interval above the target, even
    where each row counts as one observation. The lower end t of Wilson's interval of a share s of n
    observations has n (s - t)^2 = Z^2 t (1 - t). No sample tells a recall of 1: infinity.
    """
    if target == 1:
        return math.inf
    return max(SAMPLE, math.ceil(4 * Z**2 * target / (1 - target)))


def draw_sample(
    rows: np.ndarray, seed: int, stream: int = SAMPLE_STREAM, size: float = SAMPLE
) -> np.ndarray:
    """Return a seeded sample of rows, in random order.

    Args:
        rows: (M,) row numbers.
        seed: Seed of the draw.
        stream: Tells samples of one seed apart. They are independent: they may share rows.
        size: Rows to draw; all of them where there are no more.
    """
    generator = np.random.default_rng([seed, 0, stream])
    return generator.choice(rows, int(min(size, len(rows))), replace=False)


def search_sample(
    sample: np.ndarray,
    rows: np.ndarray,
    search_pool: Callable[[Pool], Iterator[tuple[Decided, np.ndarray, np.ndarray]]],
    depth: int,
    progress: Progress | None,
    ranks: Ranks,
) -> ExactLists:
    """Return the exact lists of a sample; each rank compares it with its share of the rows.

    Names of committed progress: ``sample_{rank}``, the lists among the rank's share.

    Args:
        sample: (S,) row numbers.
        rows: (M,) row numbers, ascending, that are candidates.
        search_pool: Yields the lists of a pool's targets, and their row numbers beside them.
        depth: Ranks of a list that must be known.
        progress: Where unfinished work is committed.
        ranks: This process and the others.
    """
    own = progress.load(f"sample_{ranks.rank}") if progress else None
    if own is None:
        targets = np.sort(sample)
        keys = np.full((len(sample), depth), NO_KEY)
        starts = range(0, len(rows), CANDIDATES_AT_ONCE)
        for start in starts[ranks.rank :: ranks.world_size]:
            pool = Pool(targets, rows[start : start + CANDIDATES_AT_ONCE])
            for decided, found, _ in search_pool(pool):
                at = np.searchsorted(targets, found)
                keys[at] = _best([keys[at], _keys(decided)], depth)
        own = {"keys": keys}
        if progress:
            progress.save(f"sample_{ranks.rank}", **own)
    shares = ranks.gather(own["keys"], [len(sample)] * ranks.world_size)
    keys = _best(shares, depth)[np.argsort(np.argsort(sample))]  # in the order of the draw
    return ExactLists(sample, *_lists_of(keys), len(rows))


def _best(keys: list[np.ndarray], depth: int) -> np.ndarray:
    """Return the first ``depth`` of the (S, ...) rank keys of each row."""
    return np.sort(np.concatenate(keys, axis=1), axis=1)[:, :depth]


def _keys(decided: Decided) -> np.ndarray:
    """Return numbers that sort as (score descending, row number ascending), padding last."""
    descending = np.uint64(0xFFFFFFFF) - decided.scores.view(np.uint32).astype(np.uint64)
    keys = descending << np.uint64(32) | decided.indices.astype(np.uint64)
    return np.where(decided.indices >= 0, keys, NO_KEY)


def _lists_of(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices and scores that ``_keys`` was made of."""
    bits = (np.uint64(0xFFFFFFFF) - (keys >> np.uint64(32))).astype(np.uint32)
    listed = keys != NO_KEY
    indices = np.where(listed, (keys & np.uint64(0xFFFFFFFF)).astype(np.int64), -1)
    return indices, np.where(listed, bits.view(np.float32), np.float32(0))
