"""Near-duplicate texts by shared word n-grams (CLIPPINGS' baseline, dell-research-harvard/clippings, scripts/jaccard_sim.py), by inverted index.

Two texts are linked when |A & B| / |A | B| >= threshold for their sets of n-grams. Only pairs that share one of their rarest n-grams can reach it
(prefix filter: Chaudhuri et al., ICDE 2006), so that common words cost nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import minimum_spanning_tree

from hardpairs.metrics.linkage import components

PUNCTUATION = str.maketrans("", "", "\"#$%&()*+/:;<=>@[\\]^_`{|}~.?,!'")
ROWS_AT_ONCE = 256
MANY = 0.02
"""Share of pairs that may overlap, above which all overlaps are counted at once."""


def cleaned(text: str) -> list[str]:
    """Words by the seed's rule: words cut at a line's end are joined, punctuation and non-ASCII go, lower case.

    Example:
        >>> cleaned("The Presi-\\ndent, today: YES.")
        ['the', 'president', 'today', 'yes']
    """
    text = re.sub("\n", " ", text.replace("-\n", "")).translate(PUNCTUATION)
    return text.encode("ascii", "ignore").decode().lower().split()


def ngrams(words: Sequence[str], n: int) -> set[str]:
    """The set of runs of ``n`` words; empty for a text of fewer words."""
    return {" ".join(words[start : start + n]) for start in range(len(words) - n + 1)}


def jaccard_edges(
    texts: Sequence[str], *, n: int, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """All pairs i < j whose Jaccard index is at least ``threshold``; 24 bytes each.

    Returns:
        pairs (E, 2) int64, ascending; their indices (E,) float64.

    Raises:
        ValueError: n below 1, or a threshold outside (0, 1].
    """
    found = list(jaccard_blocks(texts, n=n, threshold=threshold))
    return np.concatenate(
        [np.zeros((0, 2), np.int64), *(pairs for pairs, _ in found)]
    ), np.concatenate([np.zeros(0), *(values for _, values in found)])


def jaccard_clusters(
    texts: Sequence[str], *, n: int, thresholds: Sequence[float], sources: np.ndarray | None = None
) -> list[np.ndarray]:
    """The clusters of texts that pairs join, for each threshold: (N,) int64 each, numbered by first row.

    Pairs are not kept: after each block of texts only those stay that some threshold needs, N - 1 at most.

    Args:
        thresholds: ascending. sources: (N,); pairs of one source do not join. ``None``: all do.
    """
    left, right, passed = (np.zeros(0, np.int64) for _ in range(3))
    for pairs, values in jaccard_blocks(texts, n=n, threshold=min(thresholds)):
        pairs, values = between_sources(pairs, values, sources)
        left, right = np.append(left, pairs[:, 0]), np.append(right, pairs[:, 1])
        passed = np.append(
            passed, np.searchsorted(thresholds, values, side="right")
        )  # how many thresholds the pair reaches: exact in float64
        graph = coo_array(
            (len(thresholds) + 1.0 - passed, (left, right)), shape=(len(texts), len(texts))
        )
        tree = minimum_spanning_tree(graph.tocsr()).tocoo()
        left, right = tree.row.astype(np.int64), tree.col.astype(np.int64)
        passed = (len(thresholds) + 1 - tree.data).astype(np.int64)
    return [
        components(len(texts), left[passed > place], right[passed > place])
        for place in range(len(thresholds))
    ]


def between_sources(
    pairs: np.ndarray, values: np.ndarray, sources: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (E, 2) of texts of different sources, with their values (E,)."""
    if sources is None:
        return pairs, values
    apart = sources[pairs[:, 0]] != sources[pairs[:, 1]]
    return pairs[apart], values[apart]


def jaccard_blocks(
    texts: Sequence[str], *, n: int, threshold: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What ``jaccard_edges`` joins: pairs and indices, of ``ROWS_AT_ONCE`` texts at a time with all later ones."""
    if n < 1 or not 0 < threshold <= 1:
        raise ValueError(
            f"n must be at least 1 and the threshold in (0, 1], not {n} and {threshold}"
        )
    sets = [ngrams(cleaned(text), n) for text in texts]
    frequency = Counter(gram for grams in sets for gram in grams)
    number = {
        gram: place
        for place, gram in enumerate(sorted(frequency, key=lambda gram: (frequency[gram], gram)))
    }  # rarest first
    rows = [
        np.sort(np.fromiter((number[gram] for gram in grams), np.int64, len(grams)))
        for grams in sets
    ]
    sizes = np.array([len(row) for row in rows])
    # J >= t needs an overlap of at least t * |A|, so of the |A| n-grams one of the first |A| - ceil(t * |A|) + 1 is shared
    prefix = [row[: len(row) - int(np.ceil(threshold * len(row) - 1e-9)) + 1] for row in rows]
    whole, rare = _matrix(rows, len(number)), _matrix(prefix, len(number))
    for start in range(0, len(texts), ROWS_AT_ONCE):
        left, right, shared = _overlaps(whole, rare, start)
        likely = (left < right) & (
            np.minimum(sizes[left], sizes[right])
            >= threshold * np.maximum(sizes[left], sizes[right]) - 1e-9
        )
        left, right, shared = (
            left[likely],
            right[likely],
            _counted(whole, left[likely], right[likely]) if shared is None else shared[likely],
        )
        index = shared / np.maximum(sizes[left] + sizes[right] - shared, 1)
        kept = index >= threshold
        order = np.lexsort((right[kept], left[kept]))
        yield np.stack([left[kept], right[kept]], axis=1)[order], index[kept][order]


def _overlaps(
    whole: csr_array, rare: csr_array, start: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Pairs of a block's texts with all, and how many n-grams they share; ``None`` where pairs are few enough to be counted one by one."""
    block = slice(start, start + ROWS_AT_ONCE)
    found, shared = (rare[block] @ rare.T).tocoo(), None
    if (
        found.nnz > MANY * found.shape[0] * found.shape[1]
    ):  # one product of everything is cheaper than so many single ones
        found = (whole[block] @ whole.T).tocoo()
        shared = found.data
    return found.row.astype(np.int64) + start, found.col.astype(np.int64), shared


def _counted(whole: csr_array, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (
        np.asarray(whole[left].multiply(whole[right]).sum(axis=1)).ravel()
        if len(left)
        else np.zeros(0)
    )


def _matrix(rows: list[np.ndarray], width: int) -> csr_array:
    lengths = np.array([len(row) for row in rows])
    columns = np.concatenate([*rows, np.zeros(0, np.int64)])
    return csr_array(
        (np.ones(len(columns), np.int32), columns, np.concatenate(([0], np.cumsum(lengths)))),
        shape=(len(rows), width),
    )
