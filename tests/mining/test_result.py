"""Results by row number of a data set."""

import numpy as np

from hardpairs.mining.result import MiningResult


def test_rows_that_were_not_searched_have_empty_lists():
    indices, scores = np.array([[1, -1], [0, 2], [1, 0]]), np.float32([[3, 0], [2, 1], [2, 1]])
    result = MiningResult(indices, scores, 5, {"range": 2})
    assert result.counts == {"candidates": 7, "kept": 5, "removed": {"range": 2}}
    whole = result.for_dataset(np.array([2, 3, 5]), 6)
    assert whole.indices.tolist() == [[-1, -1], [-1, -1], [3, -1], [2, 5], [-1, -1], [3, 2]]
    assert whole.scores[[2, 3, 5]].tolist() == scores.tolist()
    assert not whole.scores[[0, 1, 4]].any() and whole.counts == result.counts
