"""Measure retrieval against a file that says what is right: ECCV Caption, CxC."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from hardpairs.core.errors import bad_input
from hardpairs.data.relevance import Relevance
from hardpairs.embedding.stream import Embedded
from hardpairs.evaluating.tables import markdown_table
from hardpairs.metrics.relevance import relevance_metrics
from hardpairs.pages.numbers import value_text

COLUMNS = ("mAP@R", "R-Precision", "R@1", "R@5", "R@10")


def evaluate_relevance(
    relevance: Relevance, embedded: Embedded, *, ties: str = "pessimistic"
) -> dict[str, Any]:
    """Measure retrieval in both directions; each image and each caption is one item.

    Args:
        relevance: What is right in the data set.
        embedded: Embeddings of rows of the data set. Images and captions without one are no
            queries; as right answers they count as not found.
        ties: How equal scores count, as in ``relevance_metrics``.

    Returns:
        The metrics of both directions, the number of queries of each, and ``*_absent``, the number
        of right answers to them that the data lacks or that have no embedding.

    Raises:
        UserError: Exit 3 when no query has a right answer that is embedded.
    """
    images, image_rows = np.unique(relevance.image_of[embedded.rows], return_index=True)
    texts, text_rows = np.unique(relevance.text_of[embedded.rows], return_index=True)
    image, text = embedded.image[image_rows], embedded.text[text_rows]
    to_image = csr_array(relevance.to_image[texts][:, images])
    to_text = csr_array(relevance.to_text[images][:, texts])
    record: dict[str, Any] = {}
    no_images = _absent(relevance.to_image, relevance.absent_images, texts, to_image)
    no_texts = _absent(relevance.to_text, relevance.absent_texts, images, to_text)
    for direction, queries, gallery, right, absent in (
        ("text_to_image", text, image, to_image, no_images),
        ("image_to_text", image, text, to_text, no_texts),
    ):
        asked = np.diff(right.indptr) > 0
        if not asked.any():
            raise bad_input(
                f"no query {direction.replace('_', ' ')} has a right answer that can be read"
            )
        record |= relevance_metrics(queries, gallery, right, direction, absent=absent, ties=ties)
        record[f"{direction}_queries"] = int(asked.sum())
        record[f"{direction}_absent"] = int(absent[asked].sum())
    record["image_to_text_is_reversed"] = relevance.is_reversed
    return record


def _absent(
    whole: csr_array, absent: np.ndarray, rows: np.ndarray, embedded: csr_array
) -> np.ndarray:
    """Return how many right answers of each query that is embedded are not."""
    return np.asarray(absent[rows] + np.diff(whole[rows].indptr) - np.diff(embedded.indptr))


def relevance_table(record: dict[str, Any]) -> str:
    """Return what was measured as a Markdown table, with a line on what counts how.

    Args:
        record: From ``evaluate_relevance``.
    """
    rows = [["", *COLUMNS, "queries"]]
    for direction in ("image_to_text", "text_to_image"):
        values = [value_text(record[f"{direction}_{name}"], "share") for name in COLUMNS]
        label = direction.replace("_", " ")
        rows.append([label, *values, f"{record[f'{direction}_queries']:,}"])
    notes = [
        "By the relevance file; equal scores count against the model in mAP@R and R-Precision."
    ]
    if record["image_to_text_is_reversed"]:
        notes.append("Image to text is the file of the captions' images, the other way round.")
    if absent := record["image_to_text_absent"] + record["text_to_image_absent"]:
        notes.append(f"{absent} right answers are not in the data and count as not found.")
    return "\n".join([*notes, "", *markdown_table(rows)])
