"""Gallery metrics by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from hardpairs.metrics.gallery import gallery_metrics, per_query, per_row


def test_by_hand():
    similarity = np.array([[0.9, 0.8, 0.7, 0.6], [0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5]])
    found = gallery_metrics(
        similarity, np.array([0, 1, 9]), np.array([0, 1, 0, 1]), weights={1: 600, 2: 300}
    )
    assert found["queries"] == 2 and found["without_match"] == 1 and found["gallery"] == 4
    assert found["top-1"] == 1.0 and found["top-2"] == 1.0 and found["score"] == 900
    assert (
        found["mAP"] == pytest.approx(((1 + 2 / 3) / 2 + (1 + 2 / 3) / 2) / 2)
        and found["R-precision"] == 0.5
    )


def test_equal_similarities_count_against_the_model():
    found = gallery_metrics(np.zeros((1, 10)), np.array([1]), np.array([1] + [0] * 9))
    assert found["top-1"] == found["top-5"] == 0 and found["top-10"] == 1 and found["mAP"] == 0.1


def test_average_precision_is_scikit_learns():
    rng = np.random.default_rng(0)
    similarity, labels, gallery = (
        rng.normal(size=(20, 60)),
        rng.integers(0, 6, 20),
        rng.integers(0, 6, 60),
    )
    expected = np.mean(
        [
            average_precision_score(gallery == label, row)
            for label, row in zip(labels, similarity, strict=True)
        ]
    )
    assert gallery_metrics(similarity, labels, gallery)["mAP"] == pytest.approx(expected)


def by_order(similarity, right, k):
    """(top-k, average precision, R-precision) of a query by its whole list, wrong items before right ones that are as similar."""
    hits = np.array(sorted(zip(-similarity, right, strict=True)))[:, 1] == 1
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(hits[:k].any()), precision[hits].mean(), precision[hits.sum() - 1]


@pytest.mark.parametrize("labels", [2, 20])
@pytest.mark.parametrize("ties", [False, True])
def test_ranks_of_the_right_items_are_those_of_the_whole_list(labels, ties):
    rng = np.random.default_rng(0)
    similarity = (rng.integers(0, 6, (30, 60)) / 5 if ties else rng.normal(size=(30, 60))).astype(
        np.float32
    )
    asked, gallery = rng.integers(0, labels, 30), rng.integers(0, labels, 60)
    gallery[:labels] = np.arange(labels)
    found = per_query(similarity, asked, gallery)
    for query in range(30):
        expected = by_order(similarity[query], gallery == asked[query], 5)
        assert (
            found["top-5"][query],
            found["mAP"][query],
            found["R-precision"][query],
        ) == pytest.approx(expected)


def test_each_row_asks_the_others():
    rng = np.random.default_rng(0)
    rows, labels = (
        rng.integers(-1, 2, (40, 3)).astype(np.float32),
        rng.integers(0, 8, 40),
    )  # many equal rows
    found = per_row(rows, labels)
    for row in range(40):
        others = np.arange(40) != row
        expected = by_order((rows @ rows[row])[others], (labels == labels[row])[others], 5)
        assert (found["top-5"][row], found["mAP"][row], found["R-precision"][row]) == pytest.approx(
            expected
        )


def test_nobody_to_find_and_no_number():
    assert gallery_metrics(np.zeros((2, 3)), np.array([5, 6]), np.array([0, 1, 2])) == {
        "queries": 0,
        "without_match": 2,
        "gallery": 3,
    }
    with pytest.raises(ValueError, match="not numbers"):
        gallery_metrics(np.full((1, 1), np.nan), np.array([0]), np.array([0]))
