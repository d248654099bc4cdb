"""Retrieval on held-out pairs, in our protocol: each picture and each caption once, ties against the model."""

from __future__ import annotations

import numpy as np

from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.samples import Samples
from hardpairs.embedding.stream import Embedded
from hardpairs.metrics.retrieval import (
    Ranking,
    beats_hard_pairs,
    first_of_each,
    rank_positives,
    summarize,
)


def evaluate(
    samples: Samples, embedded: Embedded, table: HardPairTable | None, *, ties: str = "pessimistic"
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Metrics of a model, and per-query arrays.

    A caption that stands several times in one group, or an image that has several rows there, is one item of the gallery and one query.

    Returns:
        metrics by name; arrays: ``image_rows``, ``text_rows`` (dataset rows of the different images and texts), ranks and top-10 rows of
        both directions, and ``*_beats`` per row with a table in which any row has a hard pair; a table without has no metrics.
    """
    rows, groups = embedded.rows, samples.groups[embedded.rows]
    images, texts = (
        first_of_each(groups, samples.images[rows]),
        first_of_each(groups, samples.texts[rows]),
    )
    to_text = rank_positives(
        embedded.image[images], embedded.text[texts], groups[images], groups[texts]
    )
    to_image = rank_positives(
        embedded.text[texts], embedded.image[images], groups[texts], groups[images]
    )
    metrics = {
        **summarize(to_text, "image_to_text", ties=ties),
        **summarize(to_image, "text_to_image", ties=ties),
    }
    metrics.update({"images": len(images), "texts": len(texts), "groups": len(np.unique(groups))})
    arrays = {
        "image_rows": rows[images],
        "text_rows": rows[texts],
        "image_to_text_ranks": to_text.ranks,
        "image_to_text_top": rows[texts][to_text.top],
        "text_to_image_ranks": to_image.ranks,
        "text_to_image_top": rows[images][to_image.top],
    }
    if table is not None:
        first_answers = (
            (to_text, images, groups[texts][to_text.top[:, 0]]),
            (to_image, texts, groups[images][to_image.top[:, 0]]),
        )
        hard, flags = _against_hard_pairs(samples, embedded, table, first_answers)
        metrics.update(hard)
        arrays.update(flags)
    return metrics, arrays


def _against_hard_pairs(
    samples: Samples,
    embedded: Embedded,
    table: HardPairTable,
    first_answers: tuple[tuple[Ranking, np.ndarray, np.ndarray], ...],
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Share of rows whose own pair beats all its mined ones, and share of wrong first answers that were mined ones (by group).
    Nothing where no row has a hard pair: a share of none is no number.

    ``first_answers``: for image to text, then text to image, the ranking, the positions that asked, and the groups that came first.
    """
    position = np.full(len(samples) + 1, -1)  # by dataset row; the last entry serves the padding
    position[embedded.rows] = np.arange(len(embedded.rows))
    partners = position[np.asarray(table.indices)[embedded.rows]]
    counted = (partners >= 0).any(axis=1)
    if not counted.any():
        return {}, {}
    to_text_beats, to_image_beats = beats_hard_pairs(embedded.image, embedded.text, partners)
    groups = samples.groups[embedded.rows]
    partner_groups = np.where(partners >= 0, groups[partners], -1)
    metrics = {
        "image_to_text_beats_hard_pairs": float(to_text_beats[counted].mean()),
        "text_to_image_beats_hard_pairs": float(to_image_beats[counted].mean()),
    }
    for name, (ranking, asked, answer) in zip(
        ("image_to_text", "text_to_image"), first_answers, strict=True
    ):
        wrong = ranking.ranks > 1
        mined = (partner_groups[asked] == answer[:, None]).any(axis=1)
        metrics[f"{name}_wrong_answers_mined"] = float(mined[wrong].mean()) if wrong.any() else 0.0
    return metrics, {
        "image_to_text_beats": to_text_beats,
        "text_to_image_beats": to_image_beats,
        "beats_counted": counted,
    }
