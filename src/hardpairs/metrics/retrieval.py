"""Retrieval metrics with several captions per image and several images per caption.

Ties never count in the model's favor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from hardpairs.core.components import register
from hardpairs.core.errors import non_finite
from hardpairs.metrics.base import Metric, MetricInputs
from hardpairs.metrics.groups import Groups, belong, first_of_each, groups_of_rows

BLOCK_ROWS = 512
TIES = ("pessimistic", "expected")
"""Ways to count equal scores in a model's own numbers."""

BOUNDS = (*TIES, "optimistic")
"""With the bound that no model is given: ties in its favor. A baseline with many ties is reported
by all three."""

AP_CUTOFF = 10


@register("retrieval")
class PairRetrieval(Metric):
    """Retrieval in both directions: each image and each text of a group once, ties count against.

    Recall and ranks have OpenCLIP's names; ``mean_R@1`` is the mean of both directions.
    """

    values = (
        "mean_R@1",
        "image_to_text_R@1",
        "image_to_text_R@5",
        "image_to_text_R@10",
        "image_to_text_mean_rank",
        "image_to_text_median_rank",
        "text_to_image_R@1",
        "text_to_image_R@5",
        "text_to_image_R@10",
        "text_to_image_mean_rank",
        "text_to_image_median_rank",
    )
    lower_is_better = (
        "image_to_text_mean_rank",
        "image_to_text_median_rank",
        "text_to_image_mean_rank",
        "text_to_image_median_rank",
    )

    def compute(self, inputs: MetricInputs) -> dict[str, float]:
        """Return recalls (fractions) and ranks from 1."""
        images = first_of_each(inputs.group_ids, inputs.image_ids)
        texts = first_of_each(inputs.group_ids, inputs.text_ids)
        image_groups, text_groups = groups_of_rows(inputs.group_ids, inputs.text_ids)
        numbers = retrieval_metrics(
            inputs.image[images], inputs.text[texts], image_groups[images], text_groups[texts]
        )
        both = numbers["image_to_text_R@1"] + numbers["text_to_image_R@1"]
        numbers["mean_R@1"] = both / 2
        return {name: numbers[name] for name in self.values}


@dataclass(frozen=True)
class Ranking:
    """Ranks of the positives of Q queries; one without a positive is left out of every mean.

    Attributes:
        above: (Q,) int64, negatives that score higher than the best positive.
        tied: (Q,) int64, negatives that score as high as the best positive.
        tied_positives: (Q,) int64, positives that share the best positive's score.
        average_precision: (Q,) float64, AP@10; ties count against the model.
        has_positive: (Q,) bool.
        top: (Q, T) int64, gallery indices with the highest scores, best first, ties by index.
    """

    above: np.ndarray
    tied: np.ndarray
    tied_positives: np.ndarray
    average_precision: np.ndarray
    has_positive: np.ndarray
    top: np.ndarray

    @property
    def ranks(self) -> np.ndarray:
        """(Q,) int64 ranks of the best positive, from 1; ties count against the model."""
        return np.asarray(1 + self.above + self.tied)


def rank_positives(
    queries: np.ndarray,
    gallery: np.ndarray,
    query_groups: Groups,
    gallery_groups: Groups,
    *,
    top: int = AP_CUTOFF,
) -> Ranking:
    """Rank a gallery for each query, in blocks of queries; no (Q, G) array is held.

    An item is positive for a query of its group. Items of one side can be in several groups.

    Args:
        queries: (Q, D) float, unit rows; the score is their dot product in float32.
        gallery: (G, D) float, unit rows.
        query_groups: Groups of the queries, as in ``hardpairs.metrics.groups``.
        gallery_groups: Groups of the gallery.
        top: Number of best items to keep of each query.

    Raises:
        ValueError: The shapes do not fit, a side is empty, or both have items of several groups.
        UserError: Exit 6, an embedding is not finite.
    """
    _check(queries, gallery, query_groups, gallery_groups)
    blocks = []
    for start in range(0, len(queries), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        scores = np.asarray(queries[block], np.float32) @ np.asarray(gallery, np.float32).T
        if isinstance(gallery_groups, np.ndarray):
            positive = belong(query_groups[block], gallery_groups)
        else:
            positive = belong(gallery_groups, query_groups[block]).T
        blocks.append(rank_scores(scores, positive, top=top))
    return concatenate(blocks)


def concatenate(blocks: Sequence[Ranking]) -> Ranking:
    """Return the rankings of blocks of queries as one."""
    names = [field.name for field in fields(Ranking)]
    return Ranking(*(np.concatenate([getattr(block, name) for block in blocks]) for name in names))


def _check(
    queries: np.ndarray, gallery: np.ndarray, query_groups: Groups, gallery_groups: Groups
) -> None:
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"embeddings must be (Q, D) and (G, D), not {queries.shape} and {gallery.shape}"
        )
    if len(queries) != query_groups.shape[0] or len(gallery) != gallery_groups.shape[0]:
        raise ValueError("one group per embedding is needed")
    if not any(isinstance(groups, np.ndarray) for groups in (query_groups, gallery_groups)):
        raise ValueError("the items of one side must be in one group each")
    if not len(queries) or not len(gallery):
        raise ValueError("an empty set of queries or an empty gallery has no metrics")
    for name, rows in (("query", queries), ("gallery", gallery)):
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            raise non_finite(
                f"{len(bad)} {name} embeddings are not finite",
                where=f"rows {bad[:10].tolist()}",
                why="their ranks would mean nothing",
            )


def rank_scores(scores: np.ndarray, positive: np.ndarray, *, top: int = AP_CUTOFF) -> Ranking:
    """Rank a gallery by given scores.

    Args:
        scores: (Q, G) float, higher is nearer. A score of -inf is never an answer.
        positive: (Q, G) bool.
        top: Number of best items to keep of each query.
    """
    best = np.where(positive, scores, -np.inf).max(axis=1, keepdims=True)
    return Ranking(
        above=(~positive & (scores > best)).sum(axis=1),
        tied=(~positive & (scores == best)).sum(axis=1),
        tied_positives=(positive & (scores == best)).sum(axis=1),
        average_precision=_average_precision(scores, positive),
        has_positive=np.asarray(positive.any(axis=1)),
        top=np.argsort(-scores, axis=1, kind="stable")[:, :top],
    )


def _average_precision(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Return AP@10 by query, negatives first among equal scores.

    AP@10 = 1 / min(10, R) * sum over positives at rank r <= 10 of (positives up to r) / r.
    """
    average = np.zeros(len(scores))
    for query, (row, mask) in enumerate(zip(scores, positive, strict=True)):
        ranks = positive_ranks(row, mask)
        first = ranks[ranks <= AP_CUTOFF]
        counted = min(max(len(ranks), 1), AP_CUTOFF)
        average[query] = (np.arange(1, len(first) + 1) / first).sum() / counted
    return average


def positive_ranks(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Return the ranks (from 1, ascending) of one query's positives, ties against them.

    Args:
        scores: (G,) higher is nearer.
        positive: (G,) bool.

    Example:
        >>> positive_ranks(np.array([0.9, 0.5, 0.5, 0.1]), np.array([False, True, False, True]))
        array([3, 4])
    """
    # Two sorts of values are several times as fast as an order of all items.
    own, others = np.sort(scores[positive]), np.sort(scores[~positive])
    ahead = len(others) - np.searchsorted(others, own[::-1], side="left")
    return np.asarray(ahead + np.arange(1, len(own) + 1))


def summarize(
    ranking: Ranking, prefix: str, *, ks: Sequence[int] = (1, 5, 10), ties: str = "pessimistic"
) -> dict[str, float]:
    """Return means over the queries that have a positive.

    With ``ties="expected"`` R@K, mean rank and MRR are expectations over a random order of equal
    scores, so that a constant model scores exactly chance. With ``"optimistic"`` they are those of
    the luckiest order, which tells how much ties decide a baseline. mAP@10 always counts ties
    against the model.

    Args:
        ranking: The ranks of Q queries.
        prefix: Direction in front of the metric names, such as ``image_to_text``.
        ks: The K of each R@K.
        ties: One of ``BOUNDS``.

    Returns:
        Fractions, and ranks from 1, by metric name.

    Raises:
        ValueError: Another word for ``ties``, or no query has a positive.
    """
    if ties not in BOUNDS:
        raise ValueError(f"ties must be one of {BOUNDS}, not {ties!r}")
    keep = ranking.has_positive
    if not keep.any():
        raise ValueError("no query has a positive in the gallery")
    above, tied, positives = ranking.above[keep], ranking.tied[keep], ranking.tied_positives[keep]
    if ties == "expected":
        equal = list(zip(above, tied, positives, strict=True))
        ranks = 1 + above + tied / (positives + 1)
        reciprocal = np.array([expected_reciprocal(a, t, p) for a, t, p in equal])
        recalls = {k: [1 - chance_of_none(k - a, t, p) for a, t, p in equal] for k in ks}
    else:
        ranks = (1 + above + (tied if ties == "pessimistic" else 0)).astype(np.float64)
        reciprocal = 1 / ranks
        recalls = {k: ranks <= k for k in ks}
    return {
        **{f"{prefix}_R@{k}": float(np.mean(values)) for k, values in recalls.items()},
        f"{prefix}_mean_rank": float(ranks.mean()),
        f"{prefix}_median_rank": float(np.median(ranks)),
        f"{prefix}_MRR": float(reciprocal.mean()),
        f"{prefix}_mAP@{AP_CUTOFF}": float(ranking.average_precision[keep].mean()),
    }


def chance_of_none(draws: int, negatives: int, positives: int) -> float:
    """Return the probability that the first items of a random order contain no positive.

    Args:
        draws: Number of first items.
        negatives: Number of negatives among all items.
        positives: Number of positives among all items.
    """
    if draws <= 0:
        return 1.0
    if draws > negatives:
        return 0.0
    return float(np.prod([(negatives - i) / (negatives + positives - i) for i in range(draws)]))


def expected_reciprocal(above: int, negatives: int, positives: int) -> float:
    """Return the mean of 1 / rank of the first positive over a random order of equal items.

    Args:
        above: Number of items that come before them.
        negatives: Number of negatives among the equal items.
        positives: Number of positives among them.
    """
    index = np.arange(negatives + 1)  # negatives before the first positive
    left = negatives + positives - index  # items from there on
    none_before = np.concatenate(([1.0], np.cumprod(1 - positives / left[:-1])))
    return float((none_before * positives / left / (above + 1 + index)).sum())


def retrieval_metrics(
    image_embeddings: np.ndarray,
    text_embeddings: np.ndarray,
    image_groups: Groups,
    text_groups: Groups,
    *,
    ks: Sequence[int] = (1, 5, 10),
    ties: str = "pessimistic",
) -> dict[str, float]:
    """Return retrieval metrics in both directions; a pair is positive when its groups are equal.

    Args:
        image_embeddings: (I, D) float, unit rows.
        text_embeddings: (T, D) float, unit rows.
        image_groups: (I,) int64 group ids.
        text_groups: (T,) int64 group ids; or (T, C), as ``hardpairs.metrics.groups`` makes them of
            captions that are in several groups.
        ks: The K of each R@K.
        ties: One of ``TIES``: equal scores count against the model, or as their expectation.

    Returns:
        Fractions, and ranks from 1. The names are OpenCLIP's where it has them, such as
        ``image_to_text_R@1`` and ``text_to_image_median_rank``.

    Raises:
        ValueError: The shapes do not fit, a side is empty, or no query has a positive.
        UserError: Exit 6, an embedding is not finite.

    Example:
        >>> two = np.eye(2)
        >>> retrieval_metrics(two, two, np.array([0, 1]), np.array([0, 1]))["image_to_text_R@1"]
        1.0
    """
    image_to_text = rank_positives(image_embeddings, text_embeddings, image_groups, text_groups)
    text_to_image = rank_positives(text_embeddings, image_embeddings, text_groups, image_groups)
    return {
        **summarize(image_to_text, "image_to_text", ks=ks, ties=ties),
        **summarize(text_to_image, "text_to_image", ks=ks, ties=ties),
    }


def beats_hard_pairs(
    image_embeddings: np.ndarray, text_embeddings: np.ndarray, hard_pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compare each pair's own similarity with that to each of its hard pairs. Ties lose.

    Args:
        image_embeddings: (N, D) float, unit rows.
        text_embeddings: (N, D) float, unit rows; row i of both is a pair.
        hard_pairs: (N, K) int64 rows, padded with -1.

    Returns:
        Two (N,) bool: whether image i is nearer to its caption than to those of its hard pairs,
        and the reverse.
    """
    image = np.asarray(image_embeddings, np.float32)
    text = np.asarray(text_embeddings, np.float32)
    own = np.einsum("nd,nd->n", image, text)

    def beats(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
        best = np.ones(len(queries), bool)
        for column in hard_pairs.T:
            rival = np.einsum("nd,nd->n", queries, gallery[column])
            best &= (column < 0) | (own > rival)
        return best

    return beats(image, text), beats(text, image)
