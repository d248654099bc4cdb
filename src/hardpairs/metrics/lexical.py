"""Retrieval by words alone: bag of words and BM25 over captions, baselines that see no image."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.sparse import csr_array

from hardpairs.data.words import split_words
from hardpairs.metrics.groups import Groups, belong
from hardpairs.metrics.retrieval import BLOCK_ROWS, Ranking, concatenate, rank_scores

MOST_SCORES = 1 << 24
"""Scores held at once: 128 MiB in float64, and some copies."""

Words = Sequence[str]
Scorer = Callable[[Sequence[Words]], np.ndarray]
"""Maps word lists of queries to scores (queries, documents): at least 0, and 0 without a shared
word."""


def bag_of_words(documents: Sequence[Words]) -> Scorer:
    """Return a scorer by the cosine of word counts, squared and times the query's squared length.

    (q.d)^2 / |d|^2 gives the order of the cosine by one division of whole numbers, so that equal
    cosines are equal numbers. A cosine of unit vectors breaks such ties by its rounding, and
    captions of one or two words are mostly ties.
    """
    vocabulary = dict.fromkeys(word for document in documents for word in document)
    number = {word: column for column, word in enumerate(vocabulary)}
    counts = _counts(documents, number)
    squares = np.maximum(np.asarray((counts * counts).sum(axis=1)).ravel(), 1)
    return lambda queries: (
        (_counts(queries, number) @ counts.T).toarray().astype(np.float64) ** 2 / squares
    )


def bm25(documents: Sequence[Words]) -> Scorer:
    """Return a scorer by BM25 as bm25s has it by default: Lucene's variant, k1 = 1.5, b = .75."""
    from bm25s import BM25

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # the import sets it to DEBUG
    if not any(documents):
        return lambda queries: np.zeros((len(queries), len(documents)))
    index = BM25()
    index.index([list(document) for document in documents], show_progress=False)
    return lambda queries: np.stack(
        [index.get_scores(list(query)) if query else np.zeros(len(documents)) for query in queries]
    )


def blocks_of(queries: int, documents: int) -> Iterator[slice]:
    """Yield slices of the queries such that a block has at most ``MOST_SCORES`` scores."""
    rows = max(1, min(BLOCK_ROWS, MOST_SCORES // max(documents, 1)))
    return (slice(start, start + rows) for start in range(0, queries, rows))


SCORERS: dict[str, Callable[[Sequence[Words]], Scorer]] = {
    "bm25": bm25,
    "bag_of_words": bag_of_words,
}


def _counts(texts: Sequence[Words], number: dict[str, int]) -> csr_array:
    """Return word counts, (texts, words) int64; words without a number are left out."""
    columns = [[number[word] for word in text if word in number] for text in texts]
    starts = np.concatenate(([0], np.cumsum([len(row) for row in columns], dtype=np.int64)))
    flat = np.array([column for row in columns for column in row], np.int64)
    counts = csr_array(
        (np.ones(len(flat), np.int64), flat, starts), shape=(len(texts), max(len(number), 1))
    )
    counts.sum_duplicates()
    return counts


def rank_by_other_captions(
    queries: Sequence[str],
    query_groups: Groups,
    captions: Sequence[str],
    caption_images: np.ndarray,
    image_groups: np.ndarray,
    *,
    method: str,
) -> Ranking:
    """Rank images for caption queries by the images' other captions.

    This is the task of a text-to-image model, for a method that sees no image. An image scores as
    the best of its captions. Captions with the query's own words in the query's own groups do not
    count. An image without another caption scores 0, as one that shares no word.

    Args:
        queries: Q captions that ask.
        query_groups: Groups of their correct images, as in ``hardpairs.metrics.groups``.
        captions: D captions that are searched.
        caption_images: (D,) int64, the index of each caption's image, 0 to I - 1; each image has a
            caption.
        image_groups: (I,) int64 group ids.
        method: One of ``SCORERS``.

    Returns:
        The ranking of the I images.

    Example:
        >>> texts = ["red cup", "a cup", "tree"]
        >>> images, groups = np.array([0, 0, 1]), np.array([0, 1])
        >>> ranking = rank_by_other_captions(
        ...     texts, images, texts, images, groups, method="bag_of_words"
        ... )
        >>> ranking.ranks.tolist()  # the tree has no other caption: both images score 0
        [1, 1, 2]
    """
    order = np.argsort(caption_images, kind="stable")
    starts = np.searchsorted(caption_images[order], np.arange(len(image_groups)))
    documents = [split_words(captions[i], "compounds") for i in order]
    asked = [split_words(query, "compounds") for query in queries]
    phrase = {text: number for number, text in enumerate(dict.fromkeys(map(tuple, documents)))}
    document_phrases = np.array([phrase[tuple(text)] for text in documents])
    document_groups = image_groups[caption_images[order]]
    query_phrases = np.array([phrase.get(tuple(text), -1) for text in asked])
    score, blocks = SCORERS[method](documents), []
    for block in blocks_of(len(queries), len(documents)):
        scores = score(asked[block])
        own = (query_phrases[block, None] == document_phrases) & belong(
            query_groups[block], document_groups
        )
        best = np.maximum.reduceat(np.where(own, 0, scores), starts, axis=1)
        blocks.append(rank_scores(best, belong(query_groups[block], image_groups)))
    return concatenate(blocks)
