"""MiniCLIP's test protocol (SoroushRaeisian/miniclip, src/utils.py) with its names and units, to read our numbers beside its own.

Text to image alone; every caption is a query, repeated ones too. R@K is a percentage, MRR a fraction, MedR a rank from 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hardpairs.core.errors import non_finite
from hardpairs.core.vectors import unit_rows
from hardpairs.data.manifest import stable_ids
from hardpairs.data.words import split_words
from hardpairs.metrics.ceiling import folded, sharing, text_to_image_ceiling
from hardpairs.metrics.chance import chance_metrics
from hardpairs.metrics.lexical import bag_of_words, blocks_of
from hardpairs.metrics.retrieval import BLOCK_ROWS, BOUNDS, concatenate, rank_scores, summarize

KS = (1, 5, 10)


def miniclip_ranks(
    image_embeddings: np.ndarray, text_embeddings: np.ndarray, images: np.ndarray
) -> np.ndarray:
    """Each caption's 0-based rank of its image among the different images.

    An image's embedding is the mean of its rows', normalised again. Equal scores go by the images' first appearance (the seed's
    ``argsort`` leaves their order open): a constant model scores chance here, where ours gives it nothing.

    Args:
        image_embeddings, text_embeddings: (N, D) unit rows, one for each caption. images: (N,) ids.

    Returns:
        (N,) int64.

    Raises:
        ValueError: shapes that do not fit, or no caption.
        UserError: exit 6 for non-finite embeddings.
    """
    if (
        not len(images)
        or len(image_embeddings) != len(images)
        or image_embeddings.shape != text_embeddings.shape
    ):
        raise ValueError(
            f"one image and one text embedding per caption are needed, not {image_embeddings.shape}, {text_embeddings.shape}"
        )
    if not (np.isfinite(image_embeddings).all() and np.isfinite(text_embeddings).all()):
        raise non_finite(
            "embeddings are not finite",
            why="their ranks would mean nothing",
            fix="use other weights",
        )
    place, count = _by_first_appearance(images)
    unique = np.zeros((count, image_embeddings.shape[1]), np.float32)
    np.add.at(unique, place, np.asarray(image_embeddings, np.float32))
    unique /= np.bincount(place)[:, None].astype(np.float32)
    unique = unit_rows(unique)
    ranks = []
    for start in range(0, len(place), BLOCK_ROWS):
        right = place[start : start + BLOCK_ROWS, None]
        scores = np.asarray(text_embeddings[start : start + BLOCK_ROWS], np.float32) @ unique.T
        own = np.take_along_axis(scores, right, axis=1)
        ranks.append(((scores > own) | ((scores == own) & (np.arange(count) < right))).sum(axis=1))
    return np.concatenate(ranks)


def miniclip_metrics(ranks: np.ndarray) -> dict[str, float]:
    """The seed's five numbers of 0-based ranks.

    Example:
        >>> miniclip_metrics(np.array([0, 1, 6]))
        {'R@1': 33.33333333333333, 'R@5': 66.66666666666666, 'R@10': 100.0, 'MRR': 0.5476190476190476, 'MedR': 2.0}
    """
    recalls = {f"R@{k}": float(np.mean(ranks < k) * 100) for k in KS}
    return {**recalls, "MRR": float(np.mean(1 / (ranks + 1))), "MedR": float(np.median(ranks) + 1)}


def miniclip_random(images: int) -> dict[str, float]:
    """The seed's random baseline: R@K = min(K, N) / N, MRR = H_N / N."""
    return _seed_names(chance_metrics(images, np.ones(1, np.int64), "text_to_image", ks=KS))


def miniclip_bag_of_words(
    captions: Sequence[str], images: np.ndarray
) -> dict[str, dict[str, float]]:
    """The seed's bag of words: each caption asks for another caption of its image, among all other captions, by the cosine of word counts.

    Most cosines of short captions are 0, so that the order of ties makes most of the result, and the seed's figure is that of one order. Here
    are all three: ties against it, in its favour, and the mean over orders. The task is not the model's: N - 1 captions are searched, not images,
    and a picture's other caption is right there.

    Returns:
        metrics by ``pessimistic``, ``expected`` and ``optimistic``, of the captions whose image has another; empty where none has.
    """
    documents, blocks = [split_words(caption, "miniclip") for caption in captions], []
    score, rows = bag_of_words(documents), np.arange(len(documents))
    for block in blocks_of(len(documents), len(documents)):
        itself = rows[block, None] == rows
        blocks.append(
            rank_scores(
                np.where(itself, -np.inf, score(documents[block])),
                (images[block, None] == images) & ~itself,
            )
        )
    ranking = concatenate(blocks)
    if not ranking.has_positive.any():
        return {}
    return {
        ties: _seed_names(summarize(ranking, "text_to_image", ks=KS, ties=ties)) for ties in BOUNDS
    }


def miniclip_ceiling(captions: Sequence[str], images: np.ndarray) -> dict[str, float]:
    """What a perfect model can expect, since captions repeat across images (79.7 % R@1 on the seed's test split)."""
    return _seed_names(
        text_to_image_ceiling(sharing(stable_ids(map(folded, captions)), images), ks=KS)
    )


def _seed_names(metrics: dict[str, float]) -> dict[str, float]:
    """R@K in percent and MRR, under the seed's names."""
    recalls = {f"R@{k}": 100 * metrics[f"text_to_image_R@{k}"] for k in KS}
    return {**recalls, "MRR": metrics["text_to_image_MRR"]}


def _by_first_appearance(ids: np.ndarray) -> tuple[np.ndarray, int]:
    """(N,) positions of ids in the order in which they first appear, and how many there are."""
    _, first, place = np.unique(ids, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    return order[place], len(first)
