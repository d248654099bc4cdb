"""What a model's retrieval is to be read beside: chance, words alone, the ceiling of repeated captions; and MiniCLIP's own protocol."""

from __future__ import annotations

from typing import Any

import numpy as np

from hardpairs.data.manifest import stable_ids
from hardpairs.data.samples import Samples
from hardpairs.data.words import split_words
from hardpairs.embedding.stream import Embedded
from hardpairs.metrics.ceiling import folded, image_to_text_ceiling, sharing, text_to_image_ceiling
from hardpairs.metrics.chance import chance_metrics
from hardpairs.metrics.lexical import SCORERS, rank_by_other_captions
from hardpairs.metrics.miniclip import (
    miniclip_bag_of_words,
    miniclip_ceiling,
    miniclip_metrics,
    miniclip_random,
    miniclip_ranks,
)
from hardpairs.metrics.retrieval import BOUNDS, first_of_each, summarize


def baselines(samples: Samples, rows: np.ndarray, *, ties: str = "pessimistic") -> dict[str, Any]:
    """Baselines and ceiling over the queries and the gallery that ``evaluate`` gives a model.

    Args:
        rows: (M,) dataset rows that were embedded.
        ties: how the ceiling counts equal captions as answers to an image.

    Returns:
        ``baselines``: ``random``; and where some image has two captions, ``bm25`` and ``bag_of_words`` by ``BOUNDS``, text to image.
        ``ceiling``. ``texts_without_another``: captions whose images have no other, so that words cannot find them.
    """
    groups = samples.groups[rows]
    images, texts = (
        first_of_each(groups, samples.images[rows]),
        first_of_each(groups, samples.texts[rows]),
    )
    shared = sharing(stable_ids(folded(samples.caption(row)) for row in rows[texts]), groups[texts])
    ceiling = {
        **image_to_text_ceiling(shared, groups[texts], groups[images], ties=ties),
        **text_to_image_ceiling(shared),
    }
    found: dict[str, Any] = {"random": _chance(groups[images], groups[texts])}
    alone = _without_another(samples, rows[texts], groups[texts])
    if alone < len(texts):
        found |= {method: _by_words(samples, rows, images, texts, method) for method in SCORERS}
    return {"baselines": found, "ceiling": ceiling, "texts_without_another": alone}


def _chance(image_groups: np.ndarray, text_groups: np.ndarray) -> dict[str, float]:
    return {
        **chance_metrics(len(text_groups), _of_group(text_groups, image_groups), "image_to_text"),
        **chance_metrics(len(image_groups), _of_group(image_groups, text_groups), "text_to_image"),
    }


def _of_group(gallery: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """How many of the gallery are of each query's group; each group has some."""
    groups, counts = np.unique(gallery, return_counts=True)
    return counts[np.searchsorted(groups, queries)]


def _without_another(samples: Samples, rows: np.ndarray, groups: np.ndarray) -> int:
    """How many captions are the only one of their group, by their words."""
    phrases = stable_ids(" ".join(split_words(samples.caption(row), "miniclip")) for row in rows)
    return int((_of_group(groups[first_of_each(groups, phrases)], groups) == 1).sum())


def _by_words(
    samples: Samples, rows: np.ndarray, images: np.ndarray, texts: np.ndarray, method: str
) -> dict[str, dict[str, float]]:
    groups, names = samples.groups[rows], samples.images[rows]
    documents = first_of_each(groups, names, samples.texts[rows])
    image_of = {
        (group, name): place
        for place, (group, name) in enumerate(zip(groups[images], names[images], strict=True))
    }
    ranking = rank_by_other_captions(
        [samples.caption(row) for row in rows[texts]],
        groups[texts],
        [samples.caption(row) for row in rows[documents]],
        np.array([image_of[groups[i], names[i]] for i in documents]),
        groups[images],
        method=method,
    )
    return {
        ties: _without_precision(summarize(ranking, "text_to_image", ties=ties)) for ties in BOUNDS
    }


def _without_precision(metrics: dict[str, float]) -> dict[str, float]:
    """mAP counts ties one way alone, which would stand under the wrong name."""
    return {name: value for name, value in metrics.items() if "mAP" not in name}


def miniclip(samples: Samples, embedded: Embedded) -> dict[str, Any]:
    """The model, the baselines and the ceiling in MiniCLIP's protocol and names; its bag of words by ``BOUNDS``."""
    captions, images = (
        [samples.caption(row) for row in embedded.rows],
        samples.images[embedded.rows],
    )
    count = len(np.unique(images))
    return {
        **miniclip_metrics(miniclip_ranks(embedded.image, embedded.text, images)),
        "queries": len(captions),
        "images": count,
        "random": miniclip_random(count),
        "bag_of_words": miniclip_bag_of_words(captions, images),
        "ceiling": miniclip_ceiling(captions, images),
    }
