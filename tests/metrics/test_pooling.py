"""Pooled rows by hand, and the search of the best weight."""

import numpy as np
import pytest

from hardpairs.metrics.pooling import best_weight, pooled


def test_pooling():
    image, text = np.eye(3, dtype=np.float32), -np.eye(3, dtype=np.float32)[[0, 2, 1]]
    rows = pooled(image, text, 0.5)
    assert rows[0].tolist() == [1, 0, 0]  # the parts cancel out: the picture's row
    np.testing.assert_allclose(rows[1], [0, 0.5**0.5, -(0.5**0.5)], rtol=1e-6)
    with pytest.raises(ValueError, match="must be in"):
        pooled(image, text, 1.5)
    with pytest.raises(ValueError, match="one space"):
        pooled(image, text[:, :2], 0.5)


def test_the_best_weight_is_found_between_grid_points():
    asked = []
    weight, tried = best_weight(lambda w: asked.append(w) or -((w - 0.637) ** 2))
    assert abs(weight - 0.637) < 0.01 and list(tried) == sorted(tried)
    assert (
        sorted(asked) == list(tried) and len(asked) == 11 + 2 + 6
    )  # each once: the grid, two points in .2, one more for each cut of it by .618 to .01
    assert min(np.diff(sorted(asked))) > 0.002  # and none beside a known one
    assert best_weight(lambda w: 1.0)[0] == pytest.approx(0.5, abs=0.06)  # all equal: the middle
