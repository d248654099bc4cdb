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
        embedded: Embeddings of rows of the data set. Images and captions without one are left out
            as queries and as answers.
        ties: How equal scores count, as in ``relevance_metrics``.

    Returns:
        The metrics of both directions, the numbers of queries of each, and ``left_out``, the number
        of images and captions without an embedding, where there are any.

    Raises:
        UserError: Exit 3 when no query has a right answer that is embedded.
    """
    images, image_rows = np.unique(relevance.image_of[embedded.rows], return_index=True)
    texts, text_rows = np.unique(relevance.text_of[embedded.rows], return_index=True)
    image, text = embedded.image[image_rows], embedded.text[text_rows]
    to_image = csr_array(relevance.to_image[texts][:, images])
    to_text = csr_array(relevance.to_text[images][:, texts])
    record: dict[str, Any] = {}
    for direction, queries, gallery, right in (
        ("text_to_image", text, image, to_image),
        ("image_to_text", image, text, to_text),
    ):
        asked = int((np.diff(right.indptr) > 0).sum())
        if not asked:
            raise bad_input(
                f"no query {direction.replace('_', ' ')} has a right answer that can be read"
            )
        record |= relevance_metrics(queries, gallery, right, direction, ties=ties)
        record[f"{direction}_queries"] = asked
    record["image_to_text_is_reversed"] = relevance.is_reversed
    left_out = sum(relevance.to_image.shape) - len(images) - len(texts)
    return record | ({"left_out": left_out} if left_out else {})


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
    if record.get("left_out"):
        notes.append(f"{record['left_out']} images and captions are left out: no embedding.")
    return "\n".join([*notes, "", *markdown_table(rows)])
