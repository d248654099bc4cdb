"""Near-duplicate texts by shared word n-grams, found by an inverted index.

Two texts are linked when |A & B| / |A | B| >= threshold for their sets of n-grams, as in the
baseline of CLIPPINGS (dell-research-harvard/clippings, scripts/jaccard_sim.py). Only pairs that
share one of their rarest n-grams can reach the threshold (prefix filter: Chaudhuri et al., ICDE
2006), so that common words cost nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import minimum_spanning_tree

from hardpairs.data.words import Rule, split_words
from hardpairs.metrics.linkage import components

BLOCK_ROWS = 256
MANY = 0.02
"""Share of overlapping pairs above which all overlaps are counted at once."""


def ngrams(words: Sequence[str], n: int) -> set[str]:
    """Return the set of runs of ``n`` words; it is empty for a text of fewer words."""
    return {" ".join(words[start : start + n]) for start in range(len(words) - n + 1)}


def jaccard_edges(
    texts: Sequence[str], *, n: int, threshold: float, rule: Rule = "unicode"
) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs i < j whose Jaccard index is at least ``threshold``; 24 bytes per pair.

    Args:
        texts: N texts.
        n: Number of words of an n-gram.
        threshold: Least Jaccard index, in (0, 1].
        rule: What a word is, as in ``split_words``.

    Returns:
        The pairs, (E, 2) int64, ascending, and their indices, (E,) float64.

    Raises:
        ValueError: ``n`` or ``threshold`` is out of range.
    """
    blocks = list(jaccard_blocks(texts, n=n, threshold=threshold, rule=rule))
    pairs, indices = ([block[side] for block in blocks] for side in (0, 1))
    return np.concatenate([np.zeros((0, 2), np.int64), *pairs]), np.concatenate(
        [np.zeros(0), *indices]
    )


def jaccard_clusters(
    texts: Sequence[str],
    *,
    n: int,
    thresholds: Sequence[float],
    source_ids: np.ndarray | None = None,
    rule: Rule = "unicode",
) -> list[np.ndarray]:
    """Return the clusters of linked texts, for each of several thresholds.

    Pairs are not kept: after each block of texts only those stay that some threshold needs, at most
    N - 1.

    Args:
        texts: N texts.
        n: Number of words of an n-gram.
        thresholds: Least Jaccard indices, ascending.
        source_ids: (N,) int64; texts of one source are not linked. ``None``: all may be.
        rule: What a word is, as in ``split_words``.

    Returns:
        For each threshold (N,) int64 clusters, numbered by their first text.
    """
    left, right, passed = (np.zeros(0, np.int64) for _ in range(3))
    shape = (len(texts), len(texts))
    for block in jaccard_blocks(texts, n=n, threshold=min(thresholds), rule=rule):
        pairs, indices = between_sources(*block, source_ids)
        left, right = np.append(left, pairs[:, 0]), np.append(right, pairs[:, 1])
        # the number of thresholds that a pair reaches: exact in float64
        passed = np.append(passed, np.searchsorted(thresholds, indices, side="right"))
        graph = coo_array((len(thresholds) + 1.0 - passed, (left, right)), shape=shape)
        tree = minimum_spanning_tree(graph.tocsr()).tocoo()
        left, right = tree.row.astype(np.int64), tree.col.astype(np.int64)
        passed = (len(thresholds) + 1 - tree.data).astype(np.int64)
    return [
        components(len(texts), left[passed > number], right[passed > number])
        for number in range(len(thresholds))
    ]


def between_sources(
    pairs: np.ndarray, indices: np.ndarray, source_ids: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Keep the pairs of texts of different sources.

    Args:
        pairs: (E, 2) int64.
        indices: (E,) float64, their Jaccard indices.
        source_ids: (N,) int64, the source of each text; ``None`` keeps all pairs.

    Returns:
        The pairs and the indices that remain.
    """
    if source_ids is None:
        return pairs, indices
    apart = source_ids[pairs[:, 0]] != source_ids[pairs[:, 1]]
    return pairs[apart], indices[apart]


def jaccard_blocks(
    texts: Sequence[str], *, n: int, threshold: float, rule: Rule = "unicode"
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the result of ``jaccard_edges`` in parts: a block of texts with all later ones each.

    Args:
        texts: N texts.
        n: Number of words of an n-gram.
        threshold: Least Jaccard index, in (0, 1].
        rule: What a word is, as in ``split_words``.

    Yields:
        Pairs, (E, 2) int64, and their indices, (E,) float64.

    Raises:
        ValueError: ``n`` or ``threshold`` is out of range.
    """
    if n < 1 or not 0 < threshold <= 1:
        raise ValueError(
            f"n must be at least 1 and the threshold in (0, 1], not {n} and {threshold}"
        )
    sets = [ngrams(split_words(text, rule), n) for text in texts]
    frequency = Counter(gram for grams in sets for gram in grams)
    rarest_first = sorted(frequency, key=lambda gram: (frequency[gram], gram))
    number = {gram: i for i, gram in enumerate(rarest_first)}
    rows = [
        np.sort(np.fromiter((number[gram] for gram in grams), np.int64, len(grams)))
        for grams in sets
    ]
    sizes = np.array([len(row) for row in rows])
    # J >= t needs an overlap of at least t * |A|, so that one of the first |A| - ceil(t * |A|) + 1
    # n-grams of A is shared.
    prefix = [row[: len(row) - int(np.ceil(threshold * len(row) - 1e-9)) + 1] for row in rows]
    whole, rare = _matrix(rows, len(number)), _matrix(prefix, len(number))
    for start in range(0, len(texts), BLOCK_ROWS):
        left, right, shared = _overlaps(whole, rare, start)
        smaller = np.minimum(sizes[left], sizes[right])
        larger = np.maximum(sizes[left], sizes[right])
        likely = (left < right) & (smaller >= threshold * larger - 1e-9)
        left, right = left[likely], right[likely]
        shared = _counted(whole, left, right) if shared is None else shared[likely]
        index = shared / np.maximum(sizes[left] + sizes[right] - shared, 1)
        kept = index >= threshold
        order = np.lexsort((right[kept], left[kept]))
        yield np.stack([left[kept], right[kept]], axis=1)[order], index[kept][order]


def _overlaps(
    whole: csr_array, rare: csr_array, start: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return pairs of a block's texts with all texts, and the number of n-grams that they share.

    The numbers are ``None`` where the pairs are few enough to be counted one by one.
    """
    block = slice(start, start + BLOCK_ROWS)
    overlaps, shared = (rare[block] @ rare.T).tocoo(), None
    if overlaps.nnz > MANY * overlaps.shape[0] * overlaps.shape[1]:
        # one product of everything is cheaper than so many single ones
        overlaps = (whole[block] @ whole.T).tocoo()
        shared = overlaps.data
    return overlaps.row.astype(np.int64) + start, overlaps.col.astype(np.int64), shared


def _counted(whole: csr_array, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    if not len(left):
        return np.zeros(0)
    return np.asarray(whole[left].multiply(whole[right]).sum(axis=1)).ravel()


def _matrix(rows: list[np.ndarray], width: int) -> csr_array:
    starts = np.concatenate(([0], np.cumsum([len(row) for row in rows], dtype=np.int64)))
    columns = np.concatenate([*rows, np.zeros(0, np.int64)])
    return csr_array((np.ones(len(columns), np.int32), columns, starts), shape=(len(rows), width))
