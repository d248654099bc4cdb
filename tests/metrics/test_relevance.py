"""Many-to-many retrieval: a worked example, naive loops, and the numbers of eccv-caption."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from hardpairs.core.errors import UserError
from hardpairs.metrics.relevance import precision_at_r, relevance_metrics


def naive(order: list[int], right: set[int]) -> dict[str, float]:
    """Return the metrics of one ranking, from their definitions."""
    hits = [item in right for item in order]
    precisions = [sum(hits[:r]) / r for r in range(1, len(right) + 1)]
    return {
        "R-Precision": precisions[-1],
        "mAP@R": sum(p for p, hit in zip(precisions, hits, strict=False) if hit) / len(right),
        **{f"R@{k}": float(any(hits[:k])) for k in (1, 5, 10)},
    }


def made(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return 40 captions, 12 images and what is right: 1 to 6 images of each caption."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(12, 8))
    right = np.zeros((40, 12), bool)
    for row in right:
        row[rng.choice(12, rng.integers(1, 7), replace=False)] = True
    text = right @ image + 4 * rng.normal(size=(40, 8))
    image, text = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (image, text))
    return text.astype(np.float32), image.astype(np.float32), right


def test_a_ranking_worked_by_hand() -> None:
    """Right items at ranks 1, 3 and 5 of R = 3: two of the first three; (1/1 + 2/3) / 3."""
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    precision, average = precision_at_r(scores, np.array([True, False, True, False, True]))
    assert precision == pytest.approx(2 / 3) and average == pytest.approx(5 / 9)
    assert precision_at_r(np.ones(4), np.array([True, False, False, False])) == (0, 0)
    precision, average = precision_at_r(scores, np.array([True, False, True, False, False]), 1)
    assert precision == pytest.approx(2 / 3) and average == pytest.approx(5 / 9)


@pytest.mark.parametrize("to_image", [True, False])
def test_against_naive_loops(to_image: bool) -> None:
    text, image, right = made()
    queries, gallery, positive = (text, image, right) if to_image else (image, text, right.T)
    found = relevance_metrics(queries, gallery, csr_array(positive), "way")
    expected = [
        naive(np.argsort(-(gallery @ query)).tolist(), set(np.flatnonzero(row)))
        for query, row in zip(queries, positive, strict=True)
    ]
    for name in expected[0]:
        assert found[f"way_{name}"] == pytest.approx(np.mean([e[name] for e in expected])), name


ECCV = {
    "text_to_image": {
        "R-Precision": 0.44125,
        "mAP@R": 0.3385555555555556,
        "R@1": 0.475,
        "R@5": 0.95,
    },
    "image_to_text": {
        "R-Precision": 0.422409188034188,
        "mAP@R": 0.26559472234051557,
        "R@1": 0.4166666666666667,
        "R@5": 1.0,
    },
}
"""What eccv-caption gives for ``made()``.

Made by ``compute_eccv_metrics`` and ``compute_r_at_k`` of eccv-caption 0.1.0 from the order of the
similarities, best first::

    from eccv_caption._metrics import compute_eccv_metrics, compute_r_at_k
    text, image, right = made()
    for queries, gallery, truth in ((text, image, right), (image, text, right.T)):
        order = dict(enumerate(np.argsort(-(queries @ gallery.T)).tolist()))
        gts = {i: np.flatnonzero(row).tolist() for i, row in enumerate(truth)}
        compute_eccv_metrics(order, gts), compute_r_at_k(order, gts, K=5)
"""


@pytest.mark.parametrize("direction", ["text_to_image", "image_to_text"])
def test_the_numbers_of_eccv_caption(direction: str) -> None:
    text, image, right = made()
    sides = (text, image, right) if direction == "text_to_image" else (image, text, right.T)
    found = relevance_metrics(sides[0], sides[1], csr_array(sides[2]), direction)
    for name, value in ECCV[direction].items():
        assert found[f"{direction}_{name}"] == pytest.approx(value, abs=1e-9), name


def test_queries_without_a_right_item_do_not_count() -> None:
    text, image, right = made()
    right[5:] = False
    found = relevance_metrics(text, image, csr_array(right), "way")
    alone = relevance_metrics(text[:5], image, csr_array(right[:5]), "way")
    assert found == alone
    with pytest.raises(ValueError, match="no query has a positive"):
        relevance_metrics(text, image, csr_array(np.zeros_like(right)), "way")


def test_wrong_input() -> None:
    text, image, right = made()
    with pytest.raises(ValueError, match="40 queries"):
        relevance_metrics(text, image, csr_array(right[:3]), "way")
    text[0, 0] = np.nan
    with pytest.raises(UserError) as error:
        relevance_metrics(text, image, csr_array(right), "way")
    assert error.value.code == 6
