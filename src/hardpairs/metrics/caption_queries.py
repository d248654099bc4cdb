"""Retrieval of different images by every caption, from text to image alone.

This is the test protocol of MiniCLIP (SoroushRaeisian/miniclip, src/utils.py), with its names and
units, so that numbers can be compared with published ones. Every caption is a query, repeated ones
too. R@K is a percentage, MRR a fraction, MedR a rank from 1.
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


def caption_query_ranks(
    image_embeddings: np.ndarray, text_embeddings: np.ndarray, images: np.ndarray
) -> np.ndarray:
    """Return the rank of each caption's image among the different images.

    An image's embedding is the mean of its rows, normalized again. Of equal scores the image that
    appears first ranks first (the original's ``argsort`` leaves their order open). A constant model
    therefore scores chance here, and nothing under ``retrieval_metrics``.

    Args:
        image_embeddings: (N, D) unit rows, one for each caption.
        text_embeddings: (N, D) unit rows.
        images: (N,) ids; equal for rows with the same image.

    Returns:
        (N,) int64 ranks from 0.

    Raises:
        ValueError: for shapes that do not fit, or no caption.
        UserError: exit 6 for non-finite embeddings.
    """
    if (
        not len(images)
        or len(image_embeddings) != len(images)
        or image_embeddings.shape != text_embeddings.shape
    ):
        shapes = f"{image_embeddings.shape}, {text_embeddings.shape}"
        raise ValueError(f"one image and one text embedding per caption are needed, not {shapes}")
    if not (np.isfinite(image_embeddings).all() and np.isfinite(text_embeddings).all()):
        raise non_finite(
            "embeddings are not finite",
            why="their ranks would mean nothing",
            fix="use other weights",
        )
    number, count = _by_first_appearance(images)
    unique = np.zeros((count, image_embeddings.shape[1]), np.float32)
    np.add.at(unique, number, np.asarray(image_embeddings, np.float32))
    unique /= np.bincount(number)[:, None].astype(np.float32)
    unique = unit_rows(unique)
    ranks = []
    for start in range(0, len(number), BLOCK_ROWS):
        own = number[start : start + BLOCK_ROWS, None]
        scores = np.asarray(text_embeddings[start : start + BLOCK_ROWS], np.float32) @ unique.T
        score = np.take_along_axis(scores, own, axis=1)
        earlier = np.arange(count) < own
        ranks.append(((scores > score) | ((scores == score) & earlier)).sum(axis=1))
    return np.concatenate(ranks)


def caption_query_metrics(ranks: np.ndarray) -> dict[str, float]:
    """Return the protocol's five numbers for (N,) ranks from 0.

    >>> metrics = caption_query_metrics(np.array([0, 1, 6]))
    >>> {name: round(value, 3) for name, value in metrics.items()}
    {'R@1': 33.333, 'R@5': 66.667, 'R@10': 100.0, 'MRR': 0.548, 'MedR': 2.0}
    """
    recalls = {f"R@{k}": float(np.mean(ranks < k) * 100) for k in KS}
    return {**recalls, "MRR": float(np.mean(1 / (ranks + 1))), "MedR": float(np.median(ranks) + 1)}


def caption_query_chance(images: int) -> dict[str, float]:
    """Return the random baseline: R@K = min(K, N) / N, MRR = H_N / N."""
    return _renamed(chance_metrics(images, np.ones(1, np.int64), "text_to_image", ks=KS))


def caption_query_bag_of_words(
    captions: Sequence[str], images: np.ndarray
) -> dict[str, dict[str, float]]:
    """Return the baseline of words: each caption searches for another caption of its image.

    All other captions are ranked by the cosine of word counts. Most cosines of short captions are
    0, so the order of ties decides most of the result. MiniCLIP's figure is that of one order; here
    are three: ties against the baseline, in its favor, and the mean over orders. The task is
    not the model's: N - 1 captions are searched instead of images.

    Args:
        captions: N texts.
        images: (N,) ids; equal for captions of the same image.

    Returns:
        Metrics by ``pessimistic``, ``expected`` and ``optimistic``, over the captions whose image
        has another one; empty where none has.
    """
    documents, blocks = [split_words(caption, "compounds") for caption in captions], []
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
        ties: _renamed(summarize(ranking, "text_to_image", ks=KS, ties=ties)) for ties in BOUNDS
    }


def caption_query_ceiling(captions: Sequence[str], images: np.ndarray) -> dict[str, float]:
    """Return what a perfect model can expect, since captions repeat across images.

    On MiniCLIP's own test split it is 79.7 % R@1.
    """
    return _renamed(
        text_to_image_ceiling(sharing(stable_ids(map(folded, captions)), images), ks=KS)
    )


def _renamed(metrics: dict[str, float]) -> dict[str, float]:
    """Return R@K in percent and MRR under the protocol's names."""
    recalls = {f"R@{k}": 100 * metrics[f"text_to_image_R@{k}"] for k in KS}
    return {**recalls, "MRR": metrics["text_to_image_MRR"]}


def _by_first_appearance(ids: np.ndarray) -> tuple[np.ndarray, int]:
    """Return (N,) numbers of ids in the order in which they first appear, and their count."""
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    return order[inverse], len(first)
