"""Retrieval metrics with grouped positives: several captions per image, several images per caption, ties never in the model's favour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from hardpairs.core.errors import non_finite

BLOCK_ROWS = 512
TIES = ("pessimistic", "expected")
"""What a model's own numbers may count equal scores as."""

BOUNDS = (*TIES, "optimistic")
"""With the bound that no model is given: ties in its favour. A baseline that ties much is told by all three."""

AP_CUTOFF = 10


@dataclass(frozen=True)
class Ranking:
    """How one direction's queries (Q of them) found their positives; a query without any is left out of every mean.

    Attributes:
        above, tied: (Q,) int64 negatives that score higher than, equal to the best positive.
        tied_positives: (Q,) int64 positives that share the best positive's score.
        average_precision: (Q,) float64, AP@10, ties against the model.
        has_positive: (Q,) bool.
        top: (Q, T) int64, gallery positions with the highest scores, best first, ties by position.
    """

    above: np.ndarray
    tied: np.ndarray
    tied_positives: np.ndarray
    average_precision: np.ndarray
    has_positive: np.ndarray
    top: np.ndarray

    @property
    def ranks(self) -> np.ndarray:
        """Rank of the best positive from 1, ties against the model: (Q,) int64."""
        return 1 + self.above + self.tied


def rank_positives(
    queries: np.ndarray,
    gallery: np.ndarray,
    query_groups: np.ndarray,
    gallery_groups: np.ndarray,
    *,
    top: int = AP_CUTOFF,
) -> Ranking:
    """Ranks a gallery for each query, in blocks of queries; never holds queries x gallery.

    Args:
        queries, gallery: (Q, D), (G, D) unit rows; the score is their dot product in float32.
        query_groups, gallery_groups: (Q,), (G,) ids; an item is positive for a query when its group is equal.

    Raises:
        ValueError: shapes that do not fit, or an empty side.
        UserError: exit 6 for non-finite embeddings.
    """
    _check(queries, gallery, query_groups, gallery_groups)
    blocks = []
    for start in range(0, len(queries), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        scores = np.asarray(queries[block], np.float32) @ np.asarray(gallery, np.float32).T
        blocks.append(
            rank_scores(scores, query_groups[block, None] == gallery_groups[None, :], top=top)
        )
    return joined(blocks)


def joined(blocks: Sequence[Ranking]) -> Ranking:
    """The rankings of blocks of queries as one."""
    return Ranking(
        *(
            np.concatenate([getattr(block, field.name) for block in blocks])
            for field in fields(Ranking)
        )
    )


def _check(
    queries: np.ndarray, gallery: np.ndarray, query_groups: np.ndarray, gallery_groups: np.ndarray
) -> None:
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"embeddings must be (Q, D) and (G, D), not {queries.shape} and {gallery.shape}"
        )
    if len(queries) != len(query_groups) or len(gallery) != len(gallery_groups):
        raise ValueError("one group per embedding is needed")
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
    """Ranks a gallery by scores that are there: (Q, G), higher is nearer; ``positive`` (Q, G) bool. A score of -inf is never an answer."""
    best = np.where(positive, scores, -np.inf).max(axis=1, keepdims=True)
    above = (~positive & (scores > best)).sum(axis=1)
    tied = (~positive & (scores == best)).sum(axis=1)
    tied_positives = (positive & (scores == best)).sum(axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return Ranking(
        above,
        tied,
        tied_positives,
        _average_precision(scores, positive),
        np.asarray(positive.any(axis=1)),
        order,
    )


def _average_precision(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """AP@10 = 1 / min(10, R) * sum over positives at rank r <= 10 of (positives up to r) / r, negatives first among equals."""
    order = np.lexsort((positive, -scores), axis=1)[:, :AP_CUTOFF]
    hits = np.take_along_axis(positive, order, axis=1)
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return (precision * hits).sum(axis=1) / np.clip(positive.sum(axis=1), 1, AP_CUTOFF)


def summarise(
    ranking: Ranking, prefix: str, *, ks: Sequence[int] = (1, 5, 10), ties: str = "pessimistic"
) -> dict[str, float]:
    """Means over the queries that have a positive; fractions, ranks from 1.

    With ``ties="expected"`` R@K, mean rank and MRR are expectations over a random order of equal scores, so that a constant model scores
    exactly chance; with ``"optimistic"`` they are what the luckiest order gives, which says of a baseline how much its ties decide.
    mAP@10 always counts ties against the model.
    """
    if ties not in BOUNDS:
        raise ValueError(f"ties must be one of {BOUNDS}, not {ties!r}")
    keep = ranking.has_positive
    if not keep.any():
        raise ValueError("no query has a positive in the gallery")
    above, tied, positives = (
        array[keep] for array in (ranking.above, ranking.tied, ranking.tied_positives)
    )
    if ties == "expected":
        ranks = 1 + above + tied / (positives + 1)
        reciprocal = np.array(
            [expected_reciprocal(a, t, p) for a, t, p in zip(above, tied, positives, strict=True)]
        )
        recalls = {
            k: np.array(
                [
                    1 - chance_of_none(k - a, t, p)
                    for a, t, p in zip(above, tied, positives, strict=True)
                ]
            )
            for k in ks
        }
    else:
        ranks = (1 + above + (tied if ties == "pessimistic" else 0)).astype(np.float64)
        reciprocal = 1 / ranks
        recalls = {k: ranks <= k for k in ks}
    metrics = {f"{prefix}_R@{k}": float(np.mean(values)) for k, values in recalls.items()}
    metrics[f"{prefix}_mean_rank"] = float(ranks.mean())
    metrics[f"{prefix}_median_rank"] = float(np.median(ranks))
    metrics[f"{prefix}_MRR"] = float(reciprocal.mean())
    metrics[f"{prefix}_mAP@{AP_CUTOFF}"] = float(ranking.average_precision[keep].mean())
    return metrics


def chance_of_none(places: int, negatives: int, positives: int) -> float:
    """Chance that the first ``places`` of a random order of ``negatives`` and ``positives`` equal items hold no positive."""
    if places <= 0:
        return 1.0
    if places > negatives:
        return 0.0
    return float(np.prod([(negatives - i) / (negatives + positives - i) for i in range(places)]))


def expected_reciprocal(above: int, negatives: int, positives: int) -> float:
    """Mean of 1 / rank of the first positive over a random order of equal items, ``above`` others being before them."""
    place = np.arange(negatives + 1)
    left = negatives + positives - place  # items of the tie from this place on
    none_before = np.concatenate(([1.0], np.cumprod(1 - positives / left[:-1])))
    return float((none_before * positives / left / (above + 1 + place)).sum())


def first_of_each(*ids: np.ndarray) -> np.ndarray:
    """Positions, ascending, at which a combination of ids appears for the first time.

    Example:
        >>> first_of_each(np.array([7, 7, 7, 5]), np.array([1, 2, 1, 1])).tolist()
        [0, 1, 3]
    """
    return np.sort(np.unique(np.stack(ids, axis=1), axis=0, return_index=True)[1])


def retrieval_metrics(
    image_embeddings: np.ndarray,
    text_embeddings: np.ndarray,
    image_groups: np.ndarray,
    text_groups: np.ndarray,
    *,
    ks: Sequence[int] = (1, 5, 10),
    ties: str = "pessimistic",
) -> dict[str, float]:
    """Retrieval metrics both ways; a pair is positive when its groups are equal.

    Keys as OpenCLIP's where it has them (``image_to_text_R@1``, ``text_to_image_median_rank``); fractions, not percent.

    Example:
        >>> two = np.eye(2)
        >>> retrieval_metrics(two, two, np.array([0, 1]), np.array([0, 1]))["image_to_text_R@1"]
        1.0
    """
    image_to_text = rank_positives(image_embeddings, text_embeddings, image_groups, text_groups)
    text_to_image = rank_positives(text_embeddings, image_embeddings, text_groups, image_groups)
    return {
        **summarise(image_to_text, "image_to_text", ks=ks, ties=ties),
        **summarise(text_to_image, "text_to_image", ks=ks, ties=ties),
    }


def beats_hard_pairs(
    image_embeddings: np.ndarray, text_embeddings: np.ndarray, partners: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whether a pair's own similarity is above that with each of its hard pairs; the question that mining is about.

    Args:
        image_embeddings, text_embeddings: (N, D) unit rows; row i is a pair.
        partners: (N, K) rows, padded with -1.

    Returns:
        (image_to_text, text_to_image), each (N,) bool: image i against the captions of its partners, and the reverse. Ties lose.
    """
    image_embeddings, text_embeddings = (
        np.asarray(image_embeddings, np.float32),
        np.asarray(text_embeddings, np.float32),
    )
    own = np.einsum("nd,nd->n", image_embeddings, text_embeddings)
    results = []
    for queries, gallery in (
        (image_embeddings, text_embeddings),
        (text_embeddings, image_embeddings),
    ):
        beaten = np.ones(len(queries), bool)
        for column in partners.T:
            rival = np.einsum("nd,nd->n", queries, gallery[column])
            beaten &= (column < 0) | (own > rival)
        results.append(beaten)
    return results[0], results[1]
