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
from hardpairs.metrics.lexical import SCORERS, rank_by_other_captions
from hardpairs.metrics.retrieval import BOUNDS, first_of_each, summarize


def baselines(samples: Samples, rows: np.ndarray, *, ties: str = "pessimistic") -> dict[str, Any]:
    """Measure baselines and ceiling on the queries and galleries of ``evaluate_retrieval``.

    Args:
        samples: The held-out pairs.
        rows: (M,) rows that were embedded.
        ties: How the ceiling counts equal captions as answers to an image.

    Returns:
        ``baselines``: ``random``; where some image has two captions also ``bm25`` and
        ``bag_of_words``, text to image, by ``BOUNDS``. ``ceiling``. ``texts_without_another``:
        number of captions whose images have no other, so that words cannot find them.
    """
    groups = samples.groups[rows]
    images = first_of_each(groups, samples.images[rows])
    texts = first_of_each(groups, samples.texts[rows])
    shared = sharing(stable_ids(folded(samples.caption(row)) for row in rows[texts]), groups[texts])
    ceiling = {
        **image_to_text_ceiling(shared, groups[texts], groups[images], ties=ties),
        **text_to_image_ceiling(shared),
    }
    measured: dict[str, Any] = {"random": _chance(groups[images], groups[texts])}
    alone = _without_another(samples, rows[texts], groups[texts])
    if alone < len(texts):
        measured |= {method: _by_words(samples, rows, images, texts, method) for method in SCORERS}
    return {"baselines": measured, "ceiling": ceiling, "texts_without_another": alone}


def _chance(image_groups: np.ndarray, text_groups: np.ndarray) -> dict[str, float]:
    texts_of_image = _group_sizes(text_groups, image_groups)
    images_of_text = _group_sizes(image_groups, text_groups)
    return {
        **chance_metrics(len(text_groups), texts_of_image, "image_to_text"),
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
    samples: Samples, rows: np.ndarray, images: np.ndarray, texts: np.ndarray, method: str
) -> dict[str, dict[str, float]]:
    """Measure text-to-image retrieval by the words of an image's other captions."""
    groups, image_ids = samples.groups[rows], samples.images[rows]
    documents = first_of_each(groups, image_ids, samples.texts[rows])
    position = {
        item: number
        for number, item in enumerate(zip(groups[images], image_ids[images], strict=True))
    }
    ranking = rank_by_other_captions(
        [samples.caption(row) for row in rows[texts]],
        groups[texts],
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
