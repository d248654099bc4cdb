"""Measure retrieval on held-out pairs, and how each pair stands against its hard pairs."""

from __future__ import annotations

import numpy as np

from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.samples import Samples
from hardpairs.embedding.stream import Embedded
from hardpairs.metrics.groups import first_of_each, groups_of_rows, shared_items
from hardpairs.metrics.retrieval import (
    Ranking,
    beats_hard_pairs,
    rank_positives,
    summarize,
)


def evaluate_retrieval(
    samples: Samples, embedded: Embedded, table: HardPairTable | None, *, ties: str = "pessimistic"
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Measure retrieval in both directions.

    Images or captions of one group that are equal are one item of the gallery and one query. A
    caption is right for each group that has it.

    Args:
        samples: The held-out pairs.
        embedded: Embeddings of M of their rows.
        table: Hard pairs of these samples. Nothing is measured against a table without any.
        ties: How equal scores count, one of ``hardpairs.metrics.retrieval.TIES``.

    Returns:
        Metrics by name, and arrays by query: ``image_rows`` and ``text_rows``, rows of the
        different images and texts; ``*_ranks`` and ``*_top`` (rows of the first ten answers) of
        both directions; with a table also ``*_beats`` and ``beats_counted`` by embedded row.
    """
    rows = embedded.rows
    groups, text_groups = groups_of_rows(samples.groups[rows], samples.texts[rows])
    images = first_of_each(groups, samples.images[rows])
    texts = first_of_each(groups, samples.texts[rows])
    to_text = rank_positives(
        embedded.image[images], embedded.text[texts], groups[images], text_groups[texts]
    )
    to_image = rank_positives(
        embedded.text[texts], embedded.image[images], text_groups[texts], groups[images]
    )
    metrics = {
        **summarize(to_text, "image_to_text", ties=ties),
        **summarize(to_image, "text_to_image", ties=ties),
        "images": len(images),
        "texts": len(texts),
        "groups": len(np.unique(groups)),
        "texts_in_several_groups": int(shared_items(text_groups[texts]).sum()),
    }
    arrays = {
        "image_rows": rows[images],
        "text_rows": rows[texts],
        "image_to_text_ranks": to_text.ranks,
        "image_to_text_top": rows[texts][to_text.top],
        "text_to_image_ranks": to_image.ranks,
        "text_to_image_top": rows[images][to_image.top],
    }
    if table is not None:
        hard_pairs = _embedded_hard_pairs(embedded, table)
        if (hard_pairs >= 0).any():
            beats = _beats(embedded, hard_pairs)
            arrays |= beats
            counted = beats["beats_counted"]
            for direction in ("image_to_text", "text_to_image"):
                metrics[f"{direction}_beats_hard_pairs"] = float(
                    beats[f"{direction}_beats"][counted].mean()
                )
            for direction, ranking, queries, gallery in (
                ("image_to_text", to_text, images, texts),
                ("text_to_image", to_image, texts, images),
            ):
                metrics[f"{direction}_wrong_answers_mined"] = _mined_share(
                    ranking, groups[gallery][ranking.top[:, 0]], groups, hard_pairs[queries]
                )
    return metrics, arrays


def _embedded_hard_pairs(embedded: Embedded, table: HardPairTable) -> np.ndarray:
    """Return (M, K) positions of the rows' hard pairs among the embedded rows; -1 for none."""
    position = np.full(len(table.lengths) + 1, -1)  # the last entry serves the padding
    position[embedded.rows] = np.arange(len(embedded.rows))
    return np.asarray(position[np.asarray(table.indices)[embedded.rows]])


def _beats(embedded: Embedded, hard_pairs: np.ndarray) -> dict[str, np.ndarray]:
    """Return which embedded rows score above all their hard pairs, and which have any."""
    to_text, to_image = beats_hard_pairs(embedded.image, embedded.text, hard_pairs)
    return {
        "image_to_text_beats": to_text,
        "text_to_image_beats": to_image,
        "beats_counted": np.asarray((hard_pairs >= 0).any(axis=1)),
    }


def _mined_share(
    ranking: Ranking, answer_groups: np.ndarray, groups: np.ndarray, hard_pairs: np.ndarray
) -> float:
    """Return the share of wrong first answers whose group is that of a hard pair of the query.

    Args:
        ranking: Ranking of Q queries.
        answer_groups: (Q,) groups of the first answers.
        groups: (M,) groups of the embedded rows.
        hard_pairs: (Q, K) positions of the queries' hard pairs; -1 for none.
    """
    wrong = ranking.ranks > 1
    mined_groups = np.where(hard_pairs >= 0, groups[hard_pairs], -1)
    mined = (mined_groups == answer_groups[:, None]).any(axis=1)
    return float(mined[wrong].mean()) if wrong.any() else 0.0
