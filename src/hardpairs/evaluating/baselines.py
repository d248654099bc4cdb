"""Measure what a model's retrieval stands beside: chance, captions alone, repeated captions."""

from __future__ import annotations

from typing import Any

import numpy as np

from hardpairs.data.manifest import stable_ids
from hardpairs.data.samples import Samples
from hardpairs.data.words import split_words
from hardpairs.embedding.stream import Embedded
from hardpairs.metrics.caption_queries import (
    caption_query_bag_of_words,
    caption_query_ceiling,
    caption_query_chance,
    caption_query_metrics,
    caption_query_ranks,
)
from hardpairs.metrics.ceiling import folded, image_to_text_ceiling, sharing, text_to_image_ceiling
from hardpairs.metrics.chance import chance_metrics
from hardpairs.metrics.groups import Groups, first_of_each, groups_of_rows
from hardpairs.metrics.lexical import SCORERS, rank_by_other_captions
from hardpairs.metrics.retrieval import BOUNDS, summarize


def ceiling(samples: Samples, rows: np.ndarray, *, ties: str = "pessimistic") -> dict[str, float]:
    """Return what a perfect model can reach on the queries and galleries of ``evaluate_retrieval``.

    Args:
        samples: The held-out pairs.
        rows: (M,) rows that were embedded.
        ties: How captions count as answers to an image that a model cannot tell apart.
    """
    groups = samples.groups[rows]
    images = first_of_each(groups, samples.images[rows])
    texts = first_of_each(groups, samples.texts[rows])
    looks = stable_ids(folded(samples.caption(row)) for row in rows[texts])
    shared = sharing(looks, groups[texts])
    right = sharing(samples.texts[rows[texts]], groups[texts])
    return {
        **image_to_text_ceiling(shared, groups[texts], groups[images], right, ties=ties),
        **text_to_image_ceiling(shared, right),
    }


def baselines(samples: Samples, rows: np.ndarray) -> dict[str, Any]:
    """Measure baselines on the queries and galleries of ``evaluate_retrieval``.

    Args:
        samples: The held-out pairs.
        rows: (M,) rows that were embedded.

    Returns:
        ``baselines``: ``random``; where some image has two captions also ``bm25`` and
        ``bag_of_words``, text to image, by ``BOUNDS``. ``texts_without_another``: number of
        captions whose images have no other, so that words cannot find them.
    """
    groups, text_groups = groups_of_rows(samples.groups[rows], samples.texts[rows])
    images = first_of_each(groups, samples.images[rows])
    texts = first_of_each(groups, samples.texts[rows])
    measured: dict[str, Any] = {"random": _chance(groups[images], text_groups[texts])}
    alone = _without_another(samples, rows[texts], groups[texts])
    if alone < len(texts):
        measured |= {
            method: _by_words(samples, rows, images, texts, text_groups[texts], method)
            for method in SCORERS
        }
    return {"baselines": measured, "texts_without_another": alone}


def _chance(image_groups: np.ndarray, text_groups: Groups) -> dict[str, float]:
    count = image_groups.max() + 1
    images_of_group = np.bincount(image_groups, minlength=count)
    if isinstance(text_groups, np.ndarray):
        texts_of_group = np.bincount(text_groups, minlength=count)
        images_of_text = images_of_group[text_groups]
    else:
        texts_of_group = np.asarray(text_groups.sum(axis=0, dtype=np.int64))
        images_of_text = np.asarray(text_groups @ images_of_group)
    return {
        **chance_metrics(text_groups.shape[0], texts_of_group[image_groups], "image_to_text"),
        **chance_metrics(len(image_groups), images_of_text, "text_to_image"),
    }


def _group_sizes(gallery: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return how many items of the gallery each query's group has; every group has some."""
    groups, counts = np.unique(gallery, return_counts=True)
    return counts[np.searchsorted(groups, queries)]


def _without_another(samples: Samples, rows: np.ndarray, groups: np.ndarray) -> int:
    """Return the number of captions that are the only one of their group, by their words."""
    phrases = stable_ids(" ".join(split_words(samples.caption(row), "compounds")) for row in rows)
    return int((_group_sizes(groups[first_of_each(groups, phrases)], groups) == 1).sum())


def _by_words(
    samples: Samples,
    rows: np.ndarray,
    images: np.ndarray,
    texts: np.ndarray,
    text_groups: Groups,
    method: str,
) -> dict[str, dict[str, float]]:
    """Measure text-to-image retrieval by the words of an image's other captions."""
    groups = np.unique(samples.groups[rows], return_inverse=True)[1]
    image_ids = samples.images[rows]
    documents = first_of_each(groups, image_ids, samples.texts[rows])
    position = {
        item: number
        for number, item in enumerate(zip(groups[images], image_ids[images], strict=True))
    }
    ranking = rank_by_other_captions(
        [samples.caption(row) for row in rows[texts]],
        text_groups,
        [samples.caption(row) for row in rows[documents]],
        np.array([position[groups[i], image_ids[i]] for i in documents]),
        groups[images],
        method=method,
    )
    return {
        ties: _without_precision(summarize(ranking, "text_to_image", ties=ties)) for ties in BOUNDS
    }


def _without_precision(metrics: dict[str, float]) -> dict[str, float]:
    """Leave out mAP: it counts ties against the model, whatever its bound's name says."""
    return {name: value for name, value in metrics.items() if "mAP" not in name}


def miniclip(samples: Samples, embedded: Embedded) -> dict[str, Any]:
    """Measure the model, baselines and ceiling by MiniCLIP's protocol, under its names.

    The bag of words is given by ``BOUNDS``.
    """
    captions = [samples.caption(row) for row in embedded.rows]
    images = samples.images[embedded.rows]
    count = len(np.unique(images))
    return {
        **caption_query_metrics(caption_query_ranks(embedded.image, embedded.text, images)),
        "queries": len(captions),
        "images": count,
        "random": caption_query_chance(count),
        "bag_of_words": caption_query_bag_of_words(captions, images),
        "ceiling": caption_query_ceiling(captions, images),
    }
