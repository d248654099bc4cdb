"""Retrieval against what files say, on embeddings that one can follow."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from hardpairs.core.errors import UserError
from hardpairs.data.relevance import Relevance
from hardpairs.embedding.stream import Embedded
from hardpairs.evaluating.relevance import evaluate_relevance, relevance_table
from hardpairs.metrics.relevance import relevance_metrics


def made(rows: list[int]) -> tuple[Relevance, Embedded]:
    """Three images with two captions each, of which some rows are embedded."""
    rng = np.random.default_rng(0)
    image = np.repeat(rng.normal(size=(3, 8)), 2, axis=0)
    text = image + rng.normal(size=(6, 8))
    image, text = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (image, text))
    to_image = csr_array(
        np.array([[1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]])
    )
    to_text = csr_array(np.array([[1, 1, 0, 0, 0, 0], [0] * 6, [0, 0, 0, 0, 1, 0]]))
    number = np.arange(6)
    relevance = Relevance(
        number // 2, number, to_image, to_text, number * 0, np.array([1, 0, 0]), is_reversed=False
    )
    embedded = Embedded(
        image[rows].astype(np.float32), text[rows].astype(np.float32), np.array(rows), {}
    )
    return relevance, embedded


def test_each_image_and_caption_is_one_item() -> None:
    relevance, embedded = made(list(range(6)))
    record = evaluate_relevance(relevance, embedded)
    alone = relevance_metrics(
        embedded.text, embedded.image[::2], relevance.to_image, "text_to_image"
    )
    assert {name: record[name] for name in alone} == alone
    assert (record["text_to_image_queries"], record["image_to_text_queries"]) == (3, 2)
    table = relevance_table(record)
    assert "| image to text |" in table and "mAP@R" in table and "the other way" not in table


def test_right_answers_that_are_absent_count_as_not_found() -> None:
    """Of image 0's captions the data lacks one; image 1 and its captions have no embedding."""
    relevance, embedded = made(list(range(6)))
    assert evaluate_relevance(relevance, embedded)["image_to_text_absent"] == 1
    relevance, embedded = made([0, 1, 4, 5])
    record = evaluate_relevance(relevance, embedded)
    assert record["text_to_image_queries"] == 2 and record["text_to_image_absent"] == 1
    expected = relevance_metrics(
        embedded.text[[0, 3]],
        embedded.image[[0, 2]],
        csr_array(np.array([[1, 0], [1, 1]])),
        "text_to_image",
        absent=np.array([1, 0]),
    )
    assert {name: record[name] for name in expected} == expected
    assert "2 right answers are not in the data" in relevance_table(record)
    with pytest.raises(UserError, match="no query text to image") as error:
        evaluate_relevance(relevance, made([2])[1])
    assert error.value.code == 3


def test_one_file_is_said() -> None:
    relevance, embedded = made(list(range(6)))
    one = Relevance(
        relevance.image_of,
        relevance.text_of,
        relevance.to_image,
        csr_array(relevance.to_image.T),
        relevance.absent_images,
        np.zeros(3, np.int64),
        is_reversed=True,
    )
    assert "the other way round" in relevance_table(evaluate_relevance(one, embedded))
